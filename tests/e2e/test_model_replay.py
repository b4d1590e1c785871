"""The simulated API server of tests/model does what the real one does: the same sequences end in the same state."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from app.kube.apply import list_all
from app.kube.errors import NotFound
from app.kube.resources import CONFIG_MAPS, EMITTED, LEASES, SERVICE_ENTRIES, Resource
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.depth import examples
from tests.model import strategies
from tests.model.operations import Operation
from tests.model.real import RealServer
from tests.model.replica import NAMESPACE
from tests.model.storage import Place
from tests.model.world import TEAMS, World

pytestmark = pytest.mark.e2e
COMPARED = (SERVICE_ENTRIES, *EMITTED.values(), CONFIG_MAPS)
State = dict[tuple[str, str, str], Any]


@pytest.fixture(scope="module")
def real() -> Iterator[RealServer]:
    """A control plane of its own: the controller writes objects for all entries of a cluster."""
    with ControlPlane(provide()) as control_plane:
        server = RealServer(control_plane.kubeconfig)
        yield server
        server.close()


@given(strategies.sequences)
@settings(
    max_examples=max(3, examples(30) // 10),
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_sequence_ends_in_the_same_state_on_the_real_api_server(
    real: RealServer, operations: Sequence[Operation]
) -> None:
    world = World(real)
    try:
        _empty(world)
        created = Stamps()
        found = _state_after(world, operations)
        created.read(world)
    finally:
        _empty(world)
        world.close()
    simulated = World()
    try:
        simulated.storage.stamp = created.of
        assert _state_after(simulated, operations) == found
    finally:
        simulated.close()


class Stamps:
    """The creation times of the real objects, by which the oldest entry of a host is known."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], str] = {}

    def read(self, world: World) -> None:
        """Read the times of all entries."""
        for stored in list_all(world.users, SERVICE_ENTRIES):
            self._known[_place(SERVICE_ENTRIES, stored)] = stored["metadata"]["creationTimestamp"]

    def of(self, place: Place, now: str) -> str:
        """Return the time of an object; `now` for one that did not last."""
        resource, namespace, name = place
        return self._known.get((resource.kind, namespace, name), now)


def _state_after(world: World, operations: Sequence[Operation]) -> State:
    for operation in operations:
        operation.run(world)
    world.settle()
    world.check()
    stored = [(resource, each) for resource in COMPARED for each in list_all(world.users, resource)]
    return {
        _place(resource, each): _content(each)
        for resource, each in stored
        if each["metadata"].get("namespace") in {*TEAMS, NAMESPACE}
    }


def _content(stored: dict[str, Any]) -> Any:
    """Return what does not depend on when and where an object was written."""
    metadata = stored["metadata"]
    owners = [(one["kind"], one["name"]) for one in metadata.get("ownerReferences") or []]
    kept = {name: metadata.get(name) or {} for name in ("labels", "annotations")}
    terminating = bool(metadata.get("deletionTimestamp"))
    return {
        **kept,
        "owners": owners,
        "terminating": terminating,
        "spec": stored.get("spec"),
        "data": stored.get("data"),
    }


def _place(resource: Resource, stored: dict[str, Any]) -> tuple[str, str, str]:
    return resource.kind, stored["metadata"]["namespace"], stored["metadata"]["name"]


def _empty(world: World) -> None:
    """Remove what a sequence has left, finalizers too."""
    for resource in (*COMPARED, LEASES):
        for stored in list(list_all(world.users, resource)):
            metadata = stored["metadata"]
            if metadata["namespace"] not in {*TEAMS, NAMESPACE} or metadata["name"] == "kube-root-ca.crt":
                continue
            if metadata.get("finalizers"):
                world.users.json_patch(
                    resource,
                    metadata["namespace"],
                    metadata["name"],
                    [{"op": "remove", "path": "/metadata/finalizers"}],
                )
            with suppress(NotFound):
                world.users.delete(resource, metadata["namespace"], metadata["name"])
