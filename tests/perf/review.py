"""`review` as a command: many entries in one file and in many files, and a cold start with one file.

The command is installed as by a user, with its bytecode, in its own environment. The cold start is compared with
an empty Python program and with one that only reads that file, in turns.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import yaml

from tests.perf.command import Taken, measure, measure_python
from tests.perf.figures import Effort, Figure
from tests.perf.objects import entry

MANY = 1000
MANY_SECONDS, FILES_SECONDS, MANY_MEMORY, COLD_SECONDS = 0.8, 2.0, 120.0, 0.18
NOTHING = "pass"
READING = "import yaml; yaml.load(open({path!r}), yaml.CSafeLoader)"


def run(effort: Effort) -> Iterator[Figure]:
    """Whole processes, their start included; medians of several runs."""
    manifests = [yaml.safe_dump(entry(number, hosts=2, resolution="NONE")) for number in range(MANY)]
    with tempfile.TemporaryDirectory() as temporary:
        one, folder, whole = Path(temporary, "one.yaml"), Path(temporary, "many"), Path(temporary, "whole.yaml")
        one.write_text(manifests[0])
        whole.write_text("---\n".join(manifests))
        folder.mkdir()
        for number, manifest in enumerate(manifests):
            (folder / f"{number}.yaml").write_text(manifest)
        for shown, path, aim in (
            (f"{MANY:,} entries of 2 hosts in one file", whole, MANY_SECONDS),
            (f"{MANY:,} files", folder, FILES_SECONDS),
        ):
            runs = [measure("review", str(path)) for _ in range(effort.count(5))]
            yield Figure(f"{shown}, time", median(run.seconds for run in runs), "s", aim)
            yield Figure(f"{shown}, peak", median(run.mebibytes for run in runs), "MiB", MANY_MEMORY)
        yield from _cold(one, effort.count(15))


def _cold(file: Path, turns: int) -> Iterator[Figure]:
    starts: dict[str, Callable[[], Taken]] = {
        "one file from a cold start": partial(measure, "review", str(file)),
        "the same Python, doing nothing": partial(measure_python, NOTHING),
        "the same Python, reading that file": partial(measure_python, READING.format(path=str(file))),
    }
    taken = [[start().seconds for start in starts.values()] for _ in range(turns)]
    command, nothing, reading = map(median, zip(*taken, strict=True))
    for shown, seconds, aim in zip(starts, (command, nothing, reading), (COLD_SECONDS, None, None), strict=True):
        yield Figure(f"{shown}, time", seconds, "s", aim)
    yield Figure("one file from a cold start, beyond the same Python doing nothing", command - nothing, "s")
