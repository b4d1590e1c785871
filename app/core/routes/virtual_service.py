"""The VirtualService of one host, with retries on its routes."""

import json
from collections.abc import Iterator, Sequence

from app.core.resources.durations import Duration
from app.core.resources.fields import JSON
from app.core.resources.hosts import Host
from app.core.resources.records import Record
from app.core.resources.service_entry import (
    API_VERSION,
    MANAGED_BY,
    MANAGER,
    OWNER_ANNOTATION,
    REVISION_LABEL,
    Key,
    Port,
    ServiceEntry,
)
from app.core.rules.overrides import Routing, Tuning

SEMANTICS = "internal.istio.io/route-semantics"
"""The annotation by which istiod tells the VirtualServices that it makes of HTTPRoutes; it reads it on all of them."""
HTTP_ROUTE_SEMANTICS = "gateway"
UNSAFE_METHODS = "POST|PATCH"
"""RE2 of the methods that are neither safe nor idempotent (RFC 9110, section 9.2)."""


class Emitted(Record):
    """One object that should exist: its manifest, and its identity."""

    kind: str
    key: Key
    host: str
    owner: ServiceEntry
    manifest: JSON

    @property
    def fingerprint(self) -> str:
        """The digest of its fields, to compare with that of a stored object."""
        semantics = self.manifest["metadata"]["annotations"].get(SEMANTICS, "")
        marks = self.owner.revision, semantics
        return fingerprint(self.manifest["spec"], str(self.owner.key), self.owner.uid, marks)


class Declared(Record):
    """A port of a host in one entry, the host in that entry's spelling, and the entry's retry settings."""

    entry: ServiceEntry
    host: Host
    port: Port
    tuning: Tuning


class Place(Record):
    """The owner and the name of the object of a host, and the namespaces that see it (unset: all)."""

    owner: ServiceEntry
    host: Host
    name: str
    export_to: tuple[str, ...]
    as_http_route: bool = False
    """Whether istiod is to treat it as it treats what it makes of an HTTPRoute."""


def virtual_service(place: Place, declared: Sequence[Declared], *, alone: bool) -> Emitted:
    """Build the VirtualService of a host from its HTTP ports; `alone`: istiod serves only port 80 with it.

    An unnecessary `match` would lose the route on a sidecar's HTTP-proxy port. Without a `match`, requests for other
    ports also use the route.
    """
    http = [
        route
        for declaration in declared
        for route in _routes(declaration, {} if alone else {"port": declaration.port.number})
    ]
    return emitted("VirtualService", place, {"hosts": [place.host.text], **exported(place), "http": http})


def exported(place: Place) -> dict[str, JSON]:
    """Return the exportTo field of an object."""
    return {"exportTo": list(place.export_to)} if place.export_to else {}


def emitted(kind: str, place: Place, spec: JSON) -> Emitted:
    """Add the common metadata of the guard's objects to a spec: name, labels, annotation, owner."""
    owner, key = place.owner, Key(place.owner.key.namespace, place.name)
    revision = {REVISION_LABEL: owner.revision} if owner.revision else {}
    semantics = HTTP_ROUTE_SEMANTICS if place.as_http_route else ""
    metadata: dict[str, JSON] = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": {MANAGED_BY: MANAGER, **revision},
        "annotations": {OWNER_ANNOTATION: str(owner.key), **({SEMANTICS: semantics} if semantics else {})},
    }
    if owner.uid:
        metadata["ownerReferences"] = [_owner_reference(owner)]
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return Emitted(kind, key, place.host.canonical, owner, manifest)


def fingerprint(spec: JSON, owner: str, owner_uid: str, marks: tuple[str, str]) -> str:
    """Return a digest of the fields that the guard writes, so that a cache can detect drift without the spec.

    `marks` are its revision and its semantics, "" where it has none.
    """
    import hashlib  # noqa: PLC0415 - it loads OpenSSL, and a review of files compares no digests

    canonical = json.dumps([spec, owner, owner_uid, marks], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(canonical.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _owner_reference(entry: ServiceEntry) -> JSON:
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceEntry",
        "name": entry.key.name,
        "uid": entry.uid,
        "controller": True,
    }


def _routes(declaration: Declared, match: dict[str, JSON]) -> Iterator[JSON]:
    routing = declaration.tuning.of(declaration.port)
    unsafe = routing.retry_on_unsafe
    if unsafe is not None:
        yield _route(declaration, routing, {**match, "method": {"regex": UNSAFE_METHODS}}, unsafe)
    yield _route(declaration, routing, match, routing.retry_on)


def _route(declaration: Declared, routing: Routing, match: JSON, retry_on: tuple[str, ...]) -> JSON:
    destination = {"host": declaration.host.text, "port": {"number": declaration.port.number}}
    return {
        **({"match": [match]} if match else {}),
        "route": [{"destination": destination, "weight": 100}],
        **_written("timeout", routing.timeout),
        "retries": _retries(declaration.tuning, routing, retry_on),
    }


def _retries(tuning: Tuning, routing: Routing, retry_on: tuple[str, ...]) -> JSON:
    """Return the retries; with 0 attempts, istiod rejects every other field."""
    if tuning.attempts == 0 or not retry_on:
        return {"attempts": 0}
    return {
        "attempts": tuning.attempts,
        **_written("perTryTimeout", routing.per_try_timeout),
        "retryOn": ",".join(retry_on),
        **tuning.options,
    }


def _written(name: str, duration: Duration | None) -> dict[str, JSON]:
    """Return a duration. A timeout of "0s" is left out, because Istio rejects "0s"."""
    return {name: str(duration)} if duration and duration.milliseconds else {}
