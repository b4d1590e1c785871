"""`python -m tests.bed build`: make ready what end-to-end tests and the demo need, once.

`build mesh`: Istio too; `build bench`: what benchmarks compare with; `build nodes`: what tests/cluster needs.
"""

import argparse
import sys
from collections.abc import Callable

from tests.bed.binaries import provide, provide_idle_webhook, provide_mesh, provide_nodes, provide_sidecars
from tests.bed.errors import BedError

FAMILIES: dict[str, Callable[[], object]] = {
    "mesh": provide_mesh,
    "bench": provide_idle_webhook,
    "nodes": lambda: (provide_nodes(), provide_sidecars()),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bed", description="the test bed's own command")
    parser.add_argument("command", choices=["build"], help="build what is missing in the cache")
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], help="what else is needed")
    given = parser.parse_args()
    try:
        provide()
        for family in given.families:
            FAMILIES[family]()
    except BedError as error:
        print(f"test bed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
