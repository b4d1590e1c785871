"""A cluster in which time is a number: objects, API servers that learn late, pods whose files come later still."""

import base64
import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from prometheus_client import CollectorRegistry

from app.certificates.probe import Address, ProbeError, Trouble
from app.certificates.rotation import Rotation
from app.certificates.x509 import Certificate, is_from, lapse, read_bundle
from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists, NotFound, WriteConflict
from app.kube.resources import CONFIGURATIONS, SECRETS, Resource
from app.settings import CertificateSettings
from app.telemetry.metrics import RotationMetrics

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = CertificateSettings(
    namespace="guard",
    webhook_service="webhook",
    tls_secret="guard-tls",  # noqa: S106 - a name
    ca_secret="guard-ca",  # noqa: S106 - a name
    webhook_configuration="guard",
    ca_lifetime=3600.0,
    lifetime=1200.0,
    propagation=180.0,
)
NAME = "webhook.guard.svc"


class Objects(Client):
    """Stores what is written, with optimistic locking; knows the calls that are made here, and no other."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Object] = {}
        self.writes: list[tuple[str, str, str]] = []
        self._versions = count(1)

    def get(self, resource: Resource, namespace: str | None, name: str, *, timeout: float | None = None) -> Object:
        assert bool(namespace) == resource.namespaced
        assert timeout is None
        if (resource.kind, name) not in self.stored:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.stored[resource.kind, name])

    def create(self, resource: Resource, body: Object, *, timeout: float | None = None) -> Object:
        assert timeout is None
        if (resource.kind, body["metadata"]["name"]) in self.stored:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        return self._store("create", resource, body)

    def replace(self, resource: Resource, body: Object, *, timeout: float | None = None) -> Object:
        assert timeout is None
        name = body["metadata"]["name"]
        self._check(self.get(resource, body["metadata"].get("namespace"), name), body["metadata"]["resourceVersion"])
        return self._store("replace", resource, body)

    def json_patch(self, resource: Resource, namespace: str | None, name: str, patch: Sequence[Object]) -> Object:
        stored = self.get(resource, namespace, name)
        lock, *changes = patch
        assert lock["path"] == "/metadata/resourceVersion"
        self._check(stored, lock["value"])
        for change in changes:
            index = int(change["path"].removeprefix("/webhooks/").removesuffix("/clientConfig/caBundle"))
            assert change["op"] == "add"
            stored["webhooks"][index]["clientConfig"]["caBundle"] = change["value"]
        return self._store("patch", resource, stored)

    def edit(self, kind: str, name: str) -> Object:
        """Return the object itself, to be changed by someone else."""
        self.stored[kind, name]["metadata"]["resourceVersion"] = str(next(self._versions))
        return self.stored[kind, name]

    def add_configuration(self, kind: str, *clients: Object) -> None:
        """Put a webhook configuration there, as a chart does."""
        webhooks = [{"name": f"{number}.guard.io", "clientConfig": client} for number, client in enumerate(clients)]
        metadata = {"name": "guard", "resourceVersion": "1"}
        self.stored[kind, "guard"] = {"kind": kind, "metadata": metadata, "webhooks": webhooks}

    def secret(self, name: str) -> dict[str, bytes]:
        """Return what a Secret holds; nothing where there is none."""
        data = self.stored.get((SECRETS.kind, name), {}).get("data", {})
        return {key: base64.b64decode(value) for key, value in data.items()}

    def bundle(self, kind: str = "MutatingWebhookConfiguration", index: int = 0) -> bytes:
        """Return the caBundle of one webhook."""
        client = self.stored[kind, "guard"]["webhooks"][index]["clientConfig"]
        return base64.b64decode(client.get("caBundle", ""))

    def _check(self, stored: Object, version: str) -> None:
        if stored["metadata"]["resourceVersion"] != version:
            raise WriteConflict(409, "Conflict", "the object has been modified")

    def _store(self, verb: str, resource: Resource, body: Object) -> Object:
        name = body["metadata"]["name"]
        self.writes.append((verb, resource.kind, name))
        version = {"resourceVersion": str(next(self._versions))}
        self.stored[resource.kind, name] = {**body, "metadata": {**body["metadata"], **version}}
        return self.stored[resource.kind, name]


@dataclass
class World:
    """Time, the objects, and what else there is in a cluster. `seconds` is what all clocks show."""

    seconds: float = 0.0
    objects: Objects = field(default_factory=Objects)
    chance: random.Random = field(default_factory=random.Random)
    served: list[tuple[bytes, float]] = field(default_factory=lambda: [(b"", 0.0)] * 3)
    """For each pod what it serves (PEM), and since when the Secret has held something else."""
    known: list[tuple[bytes, float]] = field(default_factory=lambda: [(b"", 0.0)] * 2)
    """For each API server the bundle that it knows, and since when there is another."""
    probed: list[Address] = field(default_factory=list)

    def rotation(self, **changes: Any) -> Rotation:
        """Return what a new leader begins with."""
        given = {"probe": self.refuse, **changes}
        return Rotation(
            self.objects, SETTINGS, RotationMetrics(CollectorRegistry()), now=lambda: self.now,
            clock=lambda: self.seconds, **given,
        )  # fmt: skip

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def refuse(self, address: Address, _bundle: bytes) -> None:
        """Be unreachable, as behind a policy that lets nobody but the API server through."""
        self.probed.append(address)
        raise ProbeError(Trouble.TIMEOUT, "timed out")

    def spread(self) -> None:
        """Have pods and API servers learn: by chance, and at the latest when their time is up."""
        secret = self.objects.secret("guard-tls").get("tls.crt", b"")
        if secret:
            self.served = [self._learn(one, secret, SETTINGS.propagation) for one in self.served]
        bundle = self.objects.bundle()
        self.known = [self._learn(one, bundle, SETTINGS.trust_seconds) for one in self.known]

    def _learn(self, held: tuple[bytes, float], there: bytes, longest: float) -> tuple[bytes, float]:
        value, since = held
        if value == there:
            return value, self.seconds
        late = self.seconds - since >= longest
        return (there, self.seconds) if not value or late or self.chance.random() < 0.05 else held

    def failures(self) -> list[str]:
        """Say which API server would not take which pod's certificate now, and why."""
        found = []
        for pem, _ in self.served:
            (leaf,) = read_bundle(pem)
            for bundle, _ in self.known:
                valid = [one for one in read_bundle(bundle) if not lapse(one, self.now)]
                if reason := lapse(leaf, self.now) or self._untrusted(leaf, valid):
                    found.append(f"{self.seconds}: {reason}")
        return found

    def _untrusted(self, leaf: Certificate, authorities: list[Certificate]) -> str | None:
        return None if any(is_from(leaf, one) for one in authorities) else "it is from none of the trusted authorities"


def world() -> World:
    """Return a cluster as it is right after an installation: both configurations, and nothing else."""
    made = World()
    service = {"name": "webhook", "namespace": "guard"}
    for resource in CONFIGURATIONS:
        made.objects.add_configuration(resource.kind, {"service": service}, {"service": {**service, "port": 8443}})
    return made
