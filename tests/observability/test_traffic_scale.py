"""An audit of many hosts beside five Prometheus series for each stays within 200 MiB; 10,000 hosts in the deep run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from app.core.resources.service_entry import API_VERSION
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND
from tests.bed.processes import wait_until
from tests.bed.require import require
from tests.depth import sized
from tests.observability.mesh import Mesh, exported
from tests.observability.prometheus import Prometheus
from tests.perf.api import Api, at_once
from tests.perf.command import run
from tests.perf.objects import Object

HOSTS = sized(deep=10_000, usual=500)
SERIES = 5 * HOSTS
MOST_MEBIBYTES = 200.0
NAMESPACES = [f"team-{number}" for number in range(10)]
WOULD_CHANGE = 1


def entry(number: int) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceEntry",
        "metadata": {"name": f"host-{number}"},
        "spec": {
            "hosts": [f"host-{number}.example.com"],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "NONE",
        },
    }


@pytest.fixture
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane(provide()) as control_plane:
        with Api(control_plane) as api:
            for place, namespace in enumerate(NAMESPACES):
                api.create_namespace(namespace)
                entries = [entry(number) for number in range(place, HOSTS, len(NAMESPACES))]
                at_once(control_plane, partial(Api.create_entry, namespace=namespace), entries)
        yield control_plane


def mesh() -> Mesh:
    """One series of calls for each host, and four of durations."""
    traffic = Mesh()
    for number in range(HOSTS):
        host, caller = f"host-{number}.example.com", NAMESPACES[number % len(NAMESPACES)]
        traffic.calls(host, caller, 100)
        traffic.durations(
            host, caller, {"1000": 90, "2500": 95, "10000": 100, "+Inf": 100}, bounds=("1000", "2500", "10000", "+Inf")
        )
    return traffic


@pytest.mark.sized
def test_the_hosts_of_a_large_mesh_are_set_beside_their_series(cluster: ControlPlane, tmp_path: Path) -> None:
    traffic = mesh()
    known = f'count(last_over_time({{__name__=~"istio.*"}}[2h] @ {traffic.until}))'
    with (
        exported(traffic) as port,
        Prometheus(require("prometheus"), tmp_path, {"mesh": port}, every="20s") as prometheus,
    ):
        wait_until(lambda: prometheus.query(known) == [SERIES], "the mesh is scraped", 120.0)
        asked = [f"--prometheus={prometheus.url}", "--metrics-window=2h"]
        taken = run(*COMMAND, "audit", f"--kubeconfig={cluster.kubeconfig}", *asked, ends_with=WOULD_CHANGE)
    print(f"{taken.seconds:.1f} s, {taken.mebibytes:.0f} MiB")
    assert taken.mebibytes < MOST_MEBIBYTES
