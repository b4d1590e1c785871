"""What happens in a sequence, as data: the same sequence can run on the simulated API server and on the real one."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from app.core.resources.service_entry import MANAGED_BY
from app.kube.errors import ApiError
from app.kube.resources import EMITTED, HTTP_ROUTES, NAMESPACES, SERVICE_ENTRIES, Resource
from tests.model.faults import Fault
from tests.model.fields import Object
from tests.model.policies import POLICIES
from tests.model.world import World

KINDS: Mapping[str, Resource] = {"ServiceEntry": SERVICE_ENTRIES, **EMITTED, "HTTPRoute": HTTP_ROUTES}


class Operation(Protocol):
    """Something that happens."""

    def run(self, world: World) -> None: ...


@dataclass(frozen=True)
class Put:
    """Somebody creates an object, or replaces its spec, annotations and labels."""

    kind: str
    namespace: str
    name: str
    content: Object

    def run(self, world: World) -> None:
        """Write it, as kubectl replace does."""
        resource = KINDS[self.kind]
        with suppress(ApiError):
            stored = _read(world, resource, self.namespace, self.name)
            metadata = {"namespace": self.namespace, "name": self.name, **self.content["metadata"]}
            manifest = {"apiVersion": resource.api_version, "kind": resource.kind, **self.content}
            if stored is None:
                world.users.create(resource, {**manifest, "metadata": metadata})
            else:
                world.users.replace(resource, {**manifest, "metadata": {**stored["metadata"], **metadata}})


@dataclass(frozen=True)
class Delete:
    """Somebody deletes an object."""

    kind: str
    namespace: str
    name: str

    def run(self, world: World) -> None:
        """Delete it."""
        with suppress(ApiError):
            world.users.delete(KINDS[self.kind], self.namespace, self.name)


@dataclass(frozen=True)
class Tamper:
    """Somebody changes an object of any owner: the `number`th of its kind."""

    kind: str
    number: int
    how: str

    def run(self, world: World) -> None:
        """Change it."""
        found = world.users.list_page(KINDS[self.kind]).items
        if found:
            stored = {"apiVersion": KINDS[self.kind].api_version, "kind": self.kind, **found[self.number % len(found)]}
            with suppress(ApiError):
                WAYS[self.how](world, KINDS[self.kind], stored)


def _edit(world: World, resource: Resource, stored: Object) -> None:
    """Change the spec."""
    world.users.replace(resource, {**stored, "spec": {**stored["spec"], "exportTo": ["."]}})


def _remove_label(world: World, resource: Resource, stored: Object) -> None:
    """Take the object over by removing the guard's label."""
    labels = {name: value for name, value in (stored["metadata"].get("labels") or {}).items() if name != MANAGED_BY}
    world.users.replace(resource, {**stored, "metadata": {**stored["metadata"], "labels": labels}})


def _mark(world: World, resource: Resource, stored: Object) -> None:
    """Add a label that does not concern the guard."""
    labels = {**(stored["metadata"].get("labels") or {}), "team": "x"}
    world.users.replace(resource, {**stored, "metadata": {**stored["metadata"], "labels": labels}})


def _strip(world: World, resource: Resource, stored: Object) -> None:
    """Remove owner references and annotations."""
    metadata = {**stored["metadata"], "ownerReferences": [], "annotations": {}}
    world.users.replace(resource, {**stored, "metadata": metadata})


def _force(world: World, resource: Resource, stored: Object) -> None:
    """Apply a field of the spec under another field manager, and take it over."""
    metadata = {name: stored["metadata"][name] for name in ("namespace", "name")}
    identity = {"apiVersion": resource.api_version, "kind": resource.kind}
    world.users.apply(resource, {**identity, "metadata": metadata, "spec": {"exportTo": ["*"]}}, force=True)


def _delete(world: World, resource: Resource, stored: Object) -> None:
    """Delete it."""
    world.users.delete(resource, stored["metadata"]["namespace"], stored["metadata"]["name"])


def _hold(world: World, resource: Resource, stored: Object) -> None:
    """Add a finalizer, or remove it."""
    metadata = stored["metadata"]
    held = [] if metadata.get("finalizers") else ["example.com/held"]
    world.users.replace(resource, {**stored, "metadata": {**metadata, "finalizers": held}})


WAYS: Mapping[str, Callable[[World, Resource, Object], None]] = {
    "edit": _edit,
    "remove label": _remove_label,
    "mark": _mark,
    "strip": _strip,
    "force": _force,
    "delete": _delete,
    "hold": _hold,
}


@dataclass(frozen=True)
class SetPolicy:
    """The policy changes."""

    number: int

    def run(self, world: World) -> None:
        """Take it from the list."""
        world.policy = POLICIES[self.number]


@dataclass(frozen=True)
class LabelNamespace:
    """Somebody labels a namespace."""

    name: str
    labels: Mapping[str, str]

    def run(self, world: World) -> None:
        """Replace its labels."""
        with suppress(ApiError):
            stored = world.users.get(NAMESPACES, None, self.name)
            labels = {"kubernetes.io/metadata.name": self.name, **self.labels}
            world.users.replace(NAMESPACES, {**stored, "metadata": {**stored["metadata"], "labels": labels}})


@dataclass(frozen=True)
class Pass:
    """Time passes, and nothing happens."""

    seconds: float

    def run(self, world: World) -> None:
        """Let time pass."""
        world.advance(self.seconds)


@dataclass(frozen=True)
class Compact:
    """The API server forgets its history."""

    def run(self, world: World) -> None:
        """Forget it; a real one cannot be told to without a restart."""
        if not world.real:
            world.storage.compact()


@dataclass(frozen=True)
class Serve:
    """The CRD of HTTPRoutes is installed, or removed with all HTTPRoutes."""

    served: bool

    def run(self, world: World) -> None:
        """Change it; the real API server always serves it."""
        if world.real:
            return
        if self.served:
            world.server.absent.discard(HTTP_ROUTES)
        else:
            world.server.absent.add(HTTP_ROUTES)
            for stored in list(world.storage.all(HTTP_ROUTES, "")):
                world.storage.delete(stored.place, {})


@dataclass(frozen=True)
class Run:
    """A part of a replica does one step."""

    replica: int
    part: str

    def run(self, world: World) -> None:
        """Do it."""
        world.replicas[self.replica].run(self.part)


@dataclass(frozen=True)
class Round:
    """Every part of both replicas does what is due."""

    def run(self, world: World) -> None:
        """Do it."""
        world.round()


@dataclass(frozen=True)
class Restart:
    """A process ends, and another one starts."""

    replica: int

    def run(self, world: World) -> None:
        """Kill it."""
        world.replicas[self.replica].kill()


@dataclass(frozen=True)
class Disturb:
    """Faults will happen in the next calls of the controller."""

    faults: tuple[Fault, ...]

    def run(self, world: World) -> None:
        """Add them to those that are still to come."""
        world.faults.waiting += self.faults


def _read(world: World, resource: Resource, namespace: str, name: str) -> Any:
    try:
        return world.users.get(resource, namespace, name)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
