"""`python -m tests.fuzz`: read damaged input until the time is over, and print the outcomes of each target.

With --write the table goes into docs/reliability.md.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.chaos.page import write
from tests.fuzz.targets import TARGETS, Target

ROUND = 300
"""Inputs of a target before it is the turn of the next one."""
FAILED = "FAILED"
BEGIN, END = "<!-- Made by `make fuzz`. -->\n", "<!-- End of the damaged input. -->\n"


def main() -> int:
    """Return 1 if an input made the product fail."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=3600.0, help="how long to read")
    parser.add_argument("--write", action="store_true", help="put the result into docs/reliability.md")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    outcomes = _read_until(time.monotonic() + chosen.seconds)
    text = report(outcomes, chosen.seconds)
    print(text)
    if chosen.write:
        write(text, BEGIN, END)
    return 1 if any(counts[FAILED] for counts in outcomes.values()) else 0


def report(outcomes: Mapping[str, Counter[str]], seconds: float) -> str:
    """The outcomes as Markdown."""
    inputs = sum(counts.total() for counts in outcomes.values())
    failures = sum(counts[FAILED] for counts in outcomes.values())
    lines = [f"{seconds / 60:.0f} minutes: {inputs:,} inputs, {failures} failures.", "", "| input | read | outcomes |"]
    lines.append("| --- | --- | --- |")
    for name, counts in outcomes.items():
        said = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
        lines.append(f"| {name} | {counts.total():,} | {said} |")
    return "\n".join(lines) + "\n"


def _read_until(end: float) -> dict[str, Counter[str]]:
    outcomes = {name: Counter[str]() for name in TARGETS}
    while time.monotonic() < end:
        for name, target in TARGETS.items():
            try:
                _read(target, outcomes[name])
            except Exception as error:
                outcomes[name][FAILED] += 1
                print(f"{name}: {error!r}", *getattr(error, "__notes__", ()), sep="\n", flush=True)
    return outcomes


def _read(target: Target, counts: Counter[str]) -> None:
    @given(st.data())
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def read(data: st.DataObject) -> None:
        counts[target.read(data.draw(target.inputs))] += 1

    read()


if __name__ == "__main__":
    sys.exit(main())
