"""`python -m tests.fuzz SECONDS`: read new inputs until the time is over, and print the outcomes of each target."""

import logging
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

ROUND = 300
"""Inputs of a target before it is the turn of the next one."""


def main() -> int:
    """Return 1 if an input made the product fail."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    logging.disable(logging.CRITICAL)
    end, failed = time.monotonic() + seconds, 0
    outcomes = {name: Counter[str]() for name in TARGETS}
    while time.monotonic() < end:
        for name, target in TARGETS.items():
            try:
                _read(target, outcomes[name])
            except Exception as error:
                failed += 1
                outcomes[name]["FAILED"] += 1
                print(f"{name}: {error!r}", *getattr(error, "__notes__", ()), sep="\n", flush=True)
    for name, counts in outcomes.items():
        print(
            f"{name:<12} {counts.total():>9,} inputs: ",
            ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items())),
        )
    return 1 if failed else 0


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
