"""`review` as a command: many entries in one file and in many files, and one file from a cold start."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import yaml

from tests.perf.command import measure
from tests.perf.figures import Effort, Figure
from tests.perf.objects import entry

MANY = 1000
MANY_SECONDS, MANY_MEMORY, COLD_SECONDS = 2.0, 120.0, 0.35


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
        for shown, path in ((f"{MANY:,} entries of 2 hosts in one file", whole), (f"{MANY:,} files", folder)):
            runs = [measure("review", str(path)) for _ in range(effort.count(5))]
            yield Figure(f"{shown}, time", median(run.seconds for run in runs), "s", MANY_SECONDS)
            yield Figure(f"{shown}, peak", median(run.mebibytes for run in runs), "MiB", MANY_MEMORY)
        cold = [measure("review", str(one)).seconds for _ in range(effort.count(15))]
        yield Figure("one file from a cold start, time", median(cold), "s", COLD_SECONDS)
