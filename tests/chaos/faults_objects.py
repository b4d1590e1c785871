"""Faults of what is stored: CRDs that go or change, namespaces and objects that end slowly, and others that fight."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from app.kube.client import Client, Object
from app.kube.errors import ApiError, NotFound, WriteConflict
from app.kube.resources import EMITTED, NAMESPACES, SERVICE_ENTRIES, Resource
from tests.bed.processes import wait_until
from tests.builders import HTTP
from tests.chaos.faults import Scene, fault
from tests.chaos.others import store_others
from tests.e2e.team import Team

OBJECTS = "objects"
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
VIRTUAL_SERVICES = EMITTED["VirtualService"]
PROBE = "chaos-probe"
WINDOW = 5.0
"""Seconds of the two windows in which the writes of a fight are compared."""
FIGHT_SECONDS = 30.0


def definition(resource: Resource) -> str:
    """The name of the CRD of a resource."""
    return f"{resource.plural}.{resource.group}"


def without_status(stored: Object) -> Object:
    """An object as a person would create it again."""
    kept = {key: stored["metadata"][key] for key in ("name", "annotations", "labels") if key in stored["metadata"]}
    return {"apiVersion": stored["apiVersion"], "kind": stored["kind"], "metadata": kept, "spec": stored["spec"]}


def remove(scene: Scene, resource: Resource) -> Object:
    """Delete a CRD with all of its objects; returns it."""
    client, name = scene.arena.client, definition(resource)
    stored = client.get(CRDS, None, name)
    client.delete(CRDS, None, name)
    wait_until(lambda: not exists(client, CRDS, None, name), "the CRD is gone", 60)
    return without_status(stored)


def restore(scene: Scene, crd: Object, resource: Resource) -> None:
    """Create a CRD, and wait until it is served."""
    scene.arena.client.create(CRDS, crd)
    wait_until(lambda: served(scene.arena.client, resource), "the resource is served", 60)


def exists(client: Client, resource: Resource, namespace: str | None, name: str) -> bool:
    """Whether an object is stored."""
    try:
        client.get(resource, namespace, name)
    except NotFound:
        return False
    return True


def served(client: Client, resource: Resource) -> bool:
    """Whether a resource can be listed."""
    with suppress(ApiError):
        client.list_page(resource, limit=1)
        return True
    return False


@fault(OBJECTS, "CRD of VirtualServices removed with all objects, and back", forced=("objects of others changed",))
def emitted_crd_removed(scene: Scene) -> Iterator[None]:
    crd = remove(scene, VIRTUAL_SERVICES)
    yield
    restore(scene, crd, VIRTUAL_SERVICES)
    for namespace in scene.stream.namespaces:
        store_others(Team(scene.arena.plane, scene.arena.client, namespace))


@fault(OBJECTS, "CRD of ServiceEntries removed with all entries, and back")
def entries_crd_removed(scene: Scene) -> Iterator[None]:
    with scene.stream.resting():
        crd = remove(scene, SERVICE_ENTRIES)
        scene.stream.ledger.possible.clear()
    yield
    restore(scene, crd, SERVICE_ENTRIES)


@fault(OBJECTS, "a new version of both CRDs is served", seconds=3.0)
def new_version(scene: Scene) -> Iterator[None]:
    for resource in (SERVICE_ENTRIES, VIRTUAL_SERVICES):
        with edited(scene, resource) as crd:
            known = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
            crd["spec"]["versions"].append({**known, "name": f"v2alpha{time.monotonic_ns()}", "storage": False})
    yield


@fault(OBJECTS, "a field of VirtualServices that we do not know has a default", seconds=4.0)
def unknown_field(scene: Scene) -> Iterator[None]:
    field = {"type": "string", "default": "from the CRD"}
    with edited(scene, VIRTUAL_SERVICES) as crd:
        for version in crd["spec"]["versions"]:
            version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["fieldOfTomorrow"] = field
    yield
    with edited(scene, VIRTUAL_SERVICES) as crd:
        for version in crd["spec"]["versions"]:
            del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["fieldOfTomorrow"]


@contextmanager
def edited(scene: Scene, resource: Resource) -> Iterator[Any]:
    """Change a CRD in the block."""
    crd = scene.arena.client.get(CRDS, None, definition(resource))
    yield crd
    scene.arena.client.replace(CRDS, crd)


@fault(OBJECTS, "a namespace that is terminating, with entries that have finalizers", seconds=8.0)
def terminating(scene: Scene) -> Iterator[None]:
    client, name = scene.arena.client, f"ending-{time.monotonic_ns()}"
    team = Team.create(scene.arena.plane, client, name)
    team.store(*(entry(name, f"held-{number}", finalizers=["chaos.test/held"]) for number in range(3)))
    team.expect(*(f"held-{number}.{name}.example.com" for number in range(3)))
    client.delete(NAMESPACES, None, name)
    for item in client.list_page(VIRTUAL_SERVICES, name).items:  # as the controller manager would
        client.delete(VIRTUAL_SERVICES, name, item["metadata"]["name"])
    yield
    release = [{"op": "remove", "path": "/metadata/finalizers"}]
    for number in range(3):
        client.delete(SERVICE_ENTRIES, name, f"held-{number}")
        client.json_patch(SERVICE_ENTRIES, name, f"held-{number}", release)


@fault(
    OBJECTS,
    "another controller keeps our objects by finalizers, and teams delete and create their ServiceEntries",
    seconds=4.0,
)
def finalizers(scene: Scene) -> Iterator[None]:
    client, name = scene.arena.client, f"slow-{time.monotonic_ns()}"
    host = f"{name}.{PROBE}.example.com"
    client.create(SERVICE_ENTRIES, entry(PROBE, name))
    wait_until(lambda: exists(client, VIRTUAL_SERVICES, PROBE, host), "it is routed", 60)
    hold = [{"op": "add", "path": "/metadata/finalizers", "value": ["chaos.test/held"]}]
    patched(client, host, hold)
    client.delete(SERVICE_ENTRIES, PROBE, name)
    wait_until(lambda: "deletionTimestamp" in client.get(VIRTUAL_SERVICES, PROBE, host)["metadata"], "it ends", 60)
    client.create(SERVICE_ENTRIES, entry(PROBE, name))
    yield
    patched(client, host, [{"op": "remove", "path": "/metadata/finalizers"}])
    wait_until(lambda: exists(client, VIRTUAL_SERVICES, PROBE, host), "it is routed again", 60)
    client.delete(SERVICE_ENTRIES, PROBE, name)


def patched(client: Client, host: str, patch: list[Object]) -> None:
    """Patch a VirtualService of the probe's namespace."""
    client.json_patch(VIRTUAL_SERVICES, PROBE, host, patch)


def entry(namespace: str, name: str, **metadata: Any) -> Object:
    """An entry with a host of its own."""
    spec = {"hosts": [f"{name}.{namespace}.example.com"], "ports": [HTTP], "resolution": "DNS"}
    named = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": named, "spec": spec}


class Fight:
    """Another controller that sets a field of one of our objects back, as fast as it can."""

    def __init__(self, client: Client, host: str, *, deletes: bool) -> None:
        self.repairs: list[float] = []
        """When one of our writes was seen."""
        self._client = client
        self._host = host
        self._deletes = deletes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fight")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Fight until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            with suppress(NotFound, WriteConflict):
                stored = self._client.get(VIRTUAL_SERVICES, PROBE, self._host)
                if stored["spec"]["http"][0].get("timeout") != "1s":
                    self.repairs.append(time.monotonic())
                    self._spoil()

    def _spoil(self) -> None:
        if self._deletes:
            self._client.delete(VIRTUAL_SERVICES, PROBE, self._host)
            return
        change = [{"op": "add", "path": "/spec/http/0/timeout", "value": "1s"}]
        self._client.json_patch(VIRTUAL_SERVICES, PROBE, self._host, change)


def _fought(scene: Scene, *, deletes: bool) -> Iterator[None]:
    client, name = scene.arena.client, f"fought-{time.monotonic_ns()}"
    host = f"{name}.{PROBE}.example.com"
    client.create(SERVICE_ENTRIES, entry(PROBE, name))
    wait_until(lambda: exists(client, VIRTUAL_SERVICES, PROBE, host), "it is routed", 60)
    fight = Fight(client, host, deletes=deletes)
    began = time.monotonic()
    with fight.going_on():
        time.sleep(FIGHT_SECONDS)
    first = sum(moment < began + WINDOW for moment in fight.repairs)
    last = sum(moment > began + FIGHT_SECONDS - WINDOW for moment in fight.repairs)
    scene.notes.append(f"{first} writes of the guard in the first {WINDOW:g} s, {last} in the last {WINDOW:g} s")
    if last > max(2, first / 3):
        scene.problems.append(f"the guard goes on fighting: {scene.notes[-1]}")
    said = json.dumps([path.read_text() for path in scene.arena.logs()])
    if "changed again and again" not in said:
        scene.problems.append("the guard does not say that another client changes its object")
    yield


for _words, _deletes in (("changes the spec of", False), ("deletes", True)):
    fault(OBJECTS, f"another controller {_words} one of our objects again and again", seconds=0.0)(
        partial(_fought, deletes=_deletes)
    )
