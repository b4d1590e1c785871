"""`python -m tests.chaos`: all faults, or those whose title has a given word; --write: into docs/reliability.md."""

import argparse
import sys
import time

from tests.bed.errors import BedError
from tests.chaos.arena import arena
from tests.chaos.faults import Fault
from tests.chaos.faults_network import enter, set_up
from tests.chaos.page import line, table, write
from tests.chaos.runner import Outcome, Runner
from tests.chaos.table import FAULTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="run only the faults whose title has one of these")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args()
    if given.write and given.words:
        parser.error("--write is for a whole run: without words")
    enter("tests.chaos")
    set_up()
    outcomes = []
    try:
        with arena() as found:
            runner = Runner.of(found)
            for fault in FAULTS:
                if not given.words or any(word in fault.title for word in given.words):
                    outcomes += _run(runner, fault)
    except BedError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    if given.write:
        write(table(outcomes))
    return 1 if any(outcome.failures() for outcome in outcomes) else 0


def _run(runner: Runner, fault: Fault) -> list[Outcome]:
    if reason := fault.complaint():
        print(f"{fault.title}: left out, {reason}", flush=True)
        return []
    began = time.monotonic()
    outcome = runner.run(fault)
    print(f"{line(outcome)} [{time.monotonic() - began:.0f} s in all]", flush=True)
    for failure in outcome.failures():
        print(f"  FAILED: {failure}", flush=True)
    return [outcome]


if __name__ == "__main__":
    sys.exit(main())
