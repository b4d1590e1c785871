"""`python -m tests.perf`: measure, and compare the figures with their targets."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.bed.binaries import provide
from tests.bed.errors import BedError
from tests.perf import (
    audit,
    create,
    decision,
    emission,
    fairness,
    flood,
    installation,
    memory,
    native,
    overhead,
    reload,
    review,
    scale,
    webhook,
)
from tests.perf.figures import Benchmark, Effort, Figure, as_text
from tests.perf.machine import describe
from tests.perf.page import Section, write

BENCHMARKS: Mapping[str, Benchmark] = {
    "decision": decision.run,
    "webhook": webhook.run,
    "overhead": overhead.run,
    "flood": flood.run,
    "create": create.run,
    "native": native.run,
    "emission": emission.run,
    "fairness": fairness.run,
    "memory": memory.run,
    "audit": audit.run,
    "review": review.run,
    "reload": reload.run,
    "scale": scale.run,
}
QUICK = Effort(0.04)
PAGE = Path("docs/performance.md")


def main() -> int:
    # As an installation runs: modules are compiled once, and not at each start of what is measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ |= installation.ENVIRONMENT
    given = _parser().parse_args()
    if given.write and given.quick:
        _parser().error("--write is for figures that count: without --quick")
    try:
        return _measure_all(given)
    except BedError as error:
        print(f"test bed: {error}", file=sys.stderr)
        return 2


def _measure_all(given: argparse.Namespace) -> int:
    effort = QUICK if given.quick else Effort()
    missed = list[str]()
    for name in given.names or BENCHMARKS:
        section = _measure(name, effort)
        missed += [figure.name for figure in section.figures if not figure.met]
        if given.write:
            write(PAGE, section, BENCHMARKS)
    print(f"\ntargets missed: {'; '.join(missed)}" if missed else "\nall targets are met")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.perf", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="BENCHMARK", choices=[*BENCHMARKS, []], help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small counts, to try a benchmark: no figures to quote")
    parser.add_argument("--write", action="store_true", help=f"put each into {PAGE} when it is measured")
    return parser


def _measure(name: str, effort: Effort) -> Section:
    benchmark = BENCHMARKS[name]
    module = sys.modules[benchmark.__module__]
    print(f"\n{name}: {(module.__doc__ or '').strip()}", flush=True)
    machine = dict(describe(provide()))
    print(*(f"  {what}: {value}" for what, value in machine.items()), sep="\n", flush=True)
    figures = list[Figure]()
    for figure in benchmark(effort):
        print(*as_text([figure]), flush=True)
        figures.append(figure)
    return Section(name, (module.__doc__ or "").strip(), machine, tuple(figures))


if __name__ == "__main__":
    sys.exit(main())
