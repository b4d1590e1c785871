"""`python -m tests.versions [--write] [oldest current newest]`: the end-to-end tests on those versions.

With `--write` a run without failures becomes a row of docs/versions.md. Ends with 1 if a test fails.
"""

import argparse
import os
import sys

from tests.bed.errors import BedError
from tests.bed.generations import GENERATIONS
from tests.versions.page import PAGE, write
from tests.versions.run import run


def main() -> int:
    names = [generation.name for generation in GENERATIONS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.versions", description="end-to-end tests on several versions"
    )
    parser.add_argument("generations", nargs="*", choices=[*names, []], help="which of them; all if none is named")
    parser.add_argument("--write", action="store_true", help=f"write the rows of {PAGE.name}")
    parser.add_argument("--workers", default=os.environ.get("WORKERS", "3"), help="tests that run side by side")
    given = parser.parse_args()
    failed = 0
    for generation in GENERATIONS:
        if generation.name in (given.generations or names):
            print(f"Kubernetes {generation.kubernetes_version}, Istio {generation.istio_version}", flush=True)
            try:
                outcome = run(generation, given.workers)
            except BedError as error:
                print(f"versions: {error}", file=sys.stderr)
                return 2
            failed += outcome.failed
            if given.write and not outcome.failed:
                write(PAGE, {generation: outcome})
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
