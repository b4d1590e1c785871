"""What is emitted for one host: a VirtualService whose routes retry."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.core.resources.durations import Duration
from app.core.resources.hosts import Host
from app.core.resources.service_entry import (
    API_VERSION,
    JSON,
    MANAGED_BY,
    MANAGER,
    OWNER_ANNOTATION,
    REVISION_LABEL,
    Key,
    Port,
    ServiceEntry,
)
from app.core.rules.overrides import Tuning

UNSAFE_METHODS = "POST|PATCH"
"""RE2 of the methods that are neither safe nor idempotent (RFC 9110, section 9.2)."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """One object that should exist: its manifest, and what it is recognised by."""

    kind: str
    key: Key
    host: str
    owner: ServiceEntry
    manifest: JSON
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A port of a host as one entry declares it, the host as that entry spells it, and how the entry is tuned."""

    entry: ServiceEntry
    host: Host
    port: Port
    tuning: Tuning


@dataclass(frozen=True, slots=True)
class Place:
    """Where what is emitted for a host goes: its owner, its name, and the namespaces that see it (unset: each)."""

    owner: ServiceEntry
    host: Host
    name: str
    export_to: tuple[str, ...]


def virtual_service(place: Place, declared: Sequence[Declared], *, alone: bool) -> Emitted:
    """Build the VirtualService of a host from its HTTP ports; `alone`: 80 is all that istiod serves with it.

    A needless `match` would lose the route on a sidecar's HTTP-proxy port. Without one, requests of other ports follow.
    """
    http = [route for one in declared for route in _routes(one, {} if alone else {"port": one.port.number})]
    return emitted("VirtualService", place, {"hosts": [place.host.text], **exported(place), "http": http})


def exported(place: Place) -> dict[str, JSON]:
    """Write who sees an object."""
    return {"exportTo": list(place.export_to)} if place.export_to else {}


def emitted(kind: str, place: Place, spec: JSON) -> Emitted:
    """Wrap a spec in what every object of ours carries: name, labels, annotation, owner."""
    owner, key = place.owner, Key(place.owner.key.namespace, place.name)
    revision = {REVISION_LABEL: owner.revision} if owner.revision else {}
    metadata: dict[str, JSON] = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": {MANAGED_BY: MANAGER, **revision},
        "annotations": {OWNER_ANNOTATION: str(owner.key)},
    }
    if owner.uid:
        metadata["ownerReferences"] = [_owner_reference(owner)]
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    identity = fingerprint(spec, str(owner.key), owner.uid, owner.revision)
    return Emitted(kind, key, place.host.canonical, owner, manifest, identity)


def fingerprint(spec: JSON, owner: str, owner_uid: str, revision: str) -> str:
    """Digest what we write of an object, so that a cache need not keep its spec to notice drift."""
    canonical = json.dumps([spec, owner, owner_uid, revision], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(canonical.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _owner_reference(entry: ServiceEntry) -> JSON:
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceEntry",
        "name": entry.key.name,
        "uid": entry.uid,
        "controller": True,
    }


def _routes(one: Declared, match: dict[str, JSON]) -> Iterator[JSON]:
    unsafe = one.tuning.of(one.port).retry_on_unsafe
    if unsafe is not None:
        yield _route(one, {**match, "method": {"regex": UNSAFE_METHODS}}, unsafe)
    yield _route(one, match, one.tuning.of(one.port).retry_on)


def _route(one: Declared, match: JSON, retry_on: tuple[str, ...]) -> JSON:
    timeout = one.tuning.of(one.port).timeout
    destination = {"host": one.host.text, "port": {"number": one.port.number}}
    return {
        **({"match": [match]} if match else {}),
        "route": [{"destination": destination, "weight": 100}],
        **_written("timeout", timeout),
        "retries": _retries(one, retry_on),
    }


def _retries(one: Declared, retry_on: tuple[str, ...]) -> JSON:
    """Write the retries; with none, istiod refuses every other field."""
    if one.tuning.attempts == 0 or not retry_on:
        return {"attempts": 0}
    return {
        "attempts": one.tuning.attempts,
        **_written("perTryTimeout", one.tuning.of(one.port).per_try_timeout),
        "retryOn": ",".join(retry_on),
        **one.tuning.options,
    }


def _written(name: str, duration: Duration | None) -> dict[str, JSON]:
    """Write a duration. No deadline is written as none: Istio has no other form, and rejects "0s"."""
    return {name: str(duration)} if duration and duration.milliseconds else {}
