"""The removal of an installation, in an order that leaves no half-removed state.

The webhook configurations are deleted first, so that no write waits for a webhook that is about to end. Then the leader
hands the Lease over to this program: from then on no controller writes a deleted object again. A leader that does not
answer loses its rights, and its Lease when it expires. The rights of the controllers and the Lease are deleted last.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

from app.core.cel.admission_policy import NAMES
from app.core.resources.fields import JSON, Fields
from app.core.resources.service_entry import MANAGER, OWNER_ANNOTATION
from app.kube.apply import OUR_OBJECTS, list_all
from app.kube.client import Client
from app.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unauthorized, WriteConflict
from app.kube.lease import UNINSTALL, LeaderElector, Timing
from app.kube.resources import ADMISSION_POLICIES, CONFIGURATIONS, EMITTED, LEASES, REPORTS, SECRETS, Resource
from app.kube.timing import backoff
from app.settings import LEASE_NAME, UninstallSettings

T = TypeVar("T")

RBAC = "rbac.authorization.k8s.io"
BINDINGS = (
    Resource(RBAC, "v1", "rolebindings", "RoleBinding"),
    Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
)
BACKSTOP = sorted(
    ADMISSION_POLICIES.values(),
    # The bindings first: a binding without its policy refuses, or is refused, for a moment.
    key=lambda resource: (not resource.kind.endswith("Binding"), not resource.kind.startswith("Validating")),
)
BACKSTOP_NAMES = tuple(name for _, name in NAMES)
FINAL = (Forbidden, Invalid, Unauthorized)
"""What trying again does not help against."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
RETRY = 0.5
"""Seconds between two attempts at the Lease."""
PATIENCE = 6.0
"""Seconds after which a holder of the Lease that does not hand it over loses its rights."""
STANDING_BY = 3.0
"""Seconds after which each controller has read who holds the Lease: it does so every 2 to 2.4 s."""


class Unfinished(Exception):
    """Something is left; says what, and what to do. To run again is safe."""


class _Written(NamedTuple):
    """An object of ours, as far as it takes to delete it."""

    namespace: str
    name: str
    uid: str


class Uninstall:
    """One run; `say` is told what is done, in a sentence, and `step` what is tried or waited for."""

    def __init__(
        self,
        client: Client,
        settings: UninstallSettings,
        say: Callable[[str], None],
        step: Callable[[str], object] = str,
    ) -> None:
        self._client = client
        self._settings = settings
        self._say = say
        self._step = step
        self._end = time.monotonic() + settings.timeout
        self._led = 0.0
        self._revoked = False

    def run(self) -> None:
        """Do it all; raises Unfinished."""
        for resource in CONFIGURATIONS:
            self._delete(self._client, resource, self._settings.webhook_configuration)
        with self._leading() as writer:
            for resource in BACKSTOP:
                for name in BACKSTOP_NAMES:
                    self._delete(writer, resource, name)
            for name in self._settings.secrets:
                self._delete(writer, SECRETS, name)
            for resource in REPORTS:  # reports on entries that are no longer reviewed
                self._remove(writer, resource)
            for resource in EMITTED.values() if self._settings.remove_objects else ():
                self._remove(writer, resource)
            self._revoke()
        self._forget_lease()

    def found(self) -> Iterator[str]:
        """Yield what `run` would delete: kind and name of each object that is there. Raises Unfinished."""
        settings = self._settings
        named = [
            *((each, settings.webhook_configuration) for each in CONFIGURATIONS),
            *((each, settings.revoke) for each in BINDINGS if settings.revoke),
            *((each, name) for each in BACKSTOP for name in BACKSTOP_NAMES),
            *((SECRETS, name) for name in settings.secrets),
            (LEASES, LEASE_NAME),
        ]
        try:
            for resource, name in named:
                with suppress(NotFound):
                    self._client.get(resource, settings.namespace if resource.namespaced else None, name)
                    yield f"{resource.kind} {name}"
            emitted = EMITTED.values() if settings.remove_objects else ()
            for resource in (*REPORTS, *emitted):
                yield from (f"{resource.kind} {_key(written)}" for written in sorted(self._ours(resource)))
        except ApiError as error:
            raise Unfinished(f"what would be deleted cannot be read: {error}") from error

    @contextmanager
    def _leading(self) -> Iterator[Client]:
        """Hold the Lease; gives a client that writes only while it is held."""
        name = f"{UNINSTALL}{socket.gethostname()}"
        elector = LeaderElector(
            self._client, self._settings.namespace, LEASE_NAME, pod=name, timing=Timing(retry=RETRY)
        )
        if self._settings.revoke:  # a controller that keeps its rights would write again once the Lease is free
            self._patiently(elector.request, f"asking for Lease {LEASE_NAME}")
        elector.start()
        patience = time.monotonic() + PATIENCE
        try:
            while not elector.is_leader():
                self._pause(1, self._held())
                if time.monotonic() > patience:  # the holder hangs, or is of a version that hands nothing over
                    self._revoke()
            self._led = time.monotonic()
            self._say(f"holding Lease {self._settings.namespace}/{LEASE_NAME}: no controller writes now")
            yield self._client.fenced(elector.remaining)
        finally:
            elector.stop()

    def _revoke(self) -> None:
        """Take the controllers' rights away, once all of them have seen who holds the Lease."""
        if not self._settings.revoke or self._revoked:
            return
        self._step("waiting until all controllers stand by")
        time.sleep(max(0.0, self._led + STANDING_BY - time.monotonic()) if self._led else 0.0)
        for resource in BINDINGS:
            self._delete(self._client, resource, self._settings.revoke)
        self._revoked = True

    def _held(self) -> str:
        lease = f"Lease {self._settings.namespace}/{LEASE_NAME}"
        return f"{lease} is still renewed by a controller: stop it, or take its rights away with --revoke"

    def _remove(self, writer: Client, resource: Resource) -> None:
        """Delete all objects of ours, until a list from beginning to end has none."""
        removed = set[_Written]()
        passes = 0
        while found := self._patiently(lambda: self._ours(resource), f"listing {resource.plural}"):
            for emitted in found:
                self._delete_emitted(writer, resource, emitted)
            removed |= found
            passes += 1
            self._pause(passes, f"{len(found)} {resource.kind}s are left, such as {_key(min(found))}")
        self._say(f"deleted {len(removed)} {resource.kind}s")

    def _ours(self, resource: Resource) -> set[_Written]:
        """Return the guard's objects of a kind in all namespaces; empty if the kind is not installed."""
        read = _report if resource in REPORTS else _emitted
        try:
            return {
                emitted
                for item in list_all(self._client, resource, label_selector=OUR_OBJECTS)
                if (emitted := read(item))
            }
        except NotFound:
            return set()

    def _delete_emitted(self, writer: Client, resource: Resource, emitted: _Written) -> None:
        def call() -> None:
            # A WriteConflict is another object of the same name: the next list shows its owner.
            with suppress(NotFound, WriteConflict):
                writer.delete(resource, emitted.namespace, emitted.name, uid=emitted.uid)

        self._patiently(call, f"deleting {resource.kind} {_key(emitted)}")

    def _delete(self, writer: Client, resource: Resource, name: str) -> None:
        namespace = self._settings.namespace if resource.namespaced else None

        def call() -> None:
            with suppress(NotFound):
                writer.delete(resource, namespace, name)
                self._say(f"deleted {resource.kind} {name}")

        self._patiently(call, f"deleting {resource.kind} {name}")

    def _forget_lease(self) -> None:
        """Delete the Lease if it has no holder and was not changed."""

        def call() -> None:
            with suppress(NotFound, WriteConflict):
                lease = self._client.get(LEASES, self._settings.namespace, LEASE_NAME)
                if not lease.get("spec", {}).get("holderIdentity"):
                    version = lease["metadata"]["resourceVersion"]
                    self._client.delete(LEASES, self._settings.namespace, LEASE_NAME, resource_version=version)

        self._patiently(call, f"deleting Lease {LEASE_NAME}")

    def _patiently(self, call: Callable[[], T], what: str) -> T:
        """Call again after what may pass, until time is up."""
        failures = 0
        self._step(what)
        while True:
            try:
                return call()
            except FINAL as error:
                raise Unfinished(f"{what}: {error}") from error
            except ApiError as error:
                failures += 1
                self._pause(failures, f"{what}: {error}")

    def _pause(self, times: int, why: str) -> None:
        if time.monotonic() > self._end:
            raise Unfinished(f"not finished within {self._settings.timeout:g} s: {why}")
        self._step(f"waiting: {why}")
        time.sleep(backoff(times, FIRST_PAUSE, LONGEST_PAUSE))


def _emitted(item: JSON) -> _Written | None:
    """Read an object that the guard emitted."""
    metadata = Fields(item, "").child("metadata")
    return _written(metadata) if metadata.child("annotations").text(OWNER_ANNOTATION) else None


def _report(item: JSON) -> _Written | None:
    """Read a report of the guard's."""
    metadata = Fields(item, "").child("metadata")
    return _written(metadata) if metadata.text("name") == MANAGER else None


def _written(metadata: Fields) -> _Written:
    return _Written(metadata.text("namespace"), metadata.text("name"), metadata.text("uid"))


def _key(emitted: _Written) -> str:
    return f"{emitted.namespace}/{emitted.name}"
