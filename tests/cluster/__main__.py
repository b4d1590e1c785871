"""`python -m tests.cluster`: a cluster that runs until standard input ends; prints its folder and its kubeconfig.

The kubeconfig is used from inside: `nsenter --net=/proc/PID/ns/net kubectl --kubeconfig=…`, with the printed PID.
"""

import sys

from tests.bed.errors import BedError
from tests.cluster.cluster import Cluster
from tests.cluster.requirements import complaint


def main() -> int:
    if reason := complaint():
        print(reason, file=sys.stderr)
        return 2
    try:
        with Cluster() as cluster:
            print(cluster.sandbox.folder, cluster.plane.kubeconfig, cluster.sandbox.place.init, flush=True)
            sys.stdin.read()
    except BedError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
