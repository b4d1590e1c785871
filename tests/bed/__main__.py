"""`python -m tests.bed build`: make ready what the end-to-end tests and the demo need, once."""

import argparse
import sys

from tests.bed.binaries import provide
from tests.bed.errors import BedError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bed", description="the test bed's own command")
    parser.add_argument("command", choices=["build"], help="build what is missing in the cache")
    parser.parse_args()
    try:
        provide()
    except BedError as error:
        print(f"test bed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
