"""What is emitted for one host: a VirtualService whose routes retry."""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from app.core.catalogue import DISABLED, KUBERNETES_SERVICE, RETRIES_NOT_APPLICABLE
from app.core.findings import Finding, Severity, and_more, port_label, quoted
from app.core.hosts import Host, names_service
from app.core.resources import (
    API_VERSION,
    JSON,
    MANAGED_BY,
    MANAGER,
    OWNER_ANNOTATION,
    Key,
    Port,
    ServiceEntry,
)
from app.core.tuning import VIRTUAL_SERVICE, Tuning, annotation_path

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


def routable(entry: ServiceEntry) -> bool:
    """Say whether objects are emitted at all: with NONE, each retry would meet the same dead address."""
    if entry.terminating:
        return False
    resolved = entry.resolution in {"DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"}
    return resolved or (entry.resolution == "STATIC" and entry.endpoints > 0)


def retry_findings(entry: ServiceEntry, tuning: Tuning, cluster_domains: Collection[str]) -> tuple[Finding, ...]:
    """Tell the author where retries do not reach."""
    if not routable(entry):
        return ()
    reach = _unread_ports(entry) if tuning.emit else _disabled(entry)
    return (*_services(entry, cluster_domains), *reach)


def virtual_service(entry: ServiceEntry, host: Host, tuning: Tuning) -> Emitted | None:
    """Build the VirtualService of one host of a `routable` entry, if it has a port whose requests can be retried."""
    ports = [port for port in entry.ports if port.http]
    if not (tuning.emit and ports):
        return None
    spec: dict[str, JSON] = {"hosts": [host.text]}
    if entry.export_to:
        spec["exportTo"] = list(entry.export_to)
    spec["http"] = [route for port in ports for route in _routes(host, port, tuning, several=len(ports) > 1)]
    return emitted("VirtualService", entry, host, spec)


def emitted(kind: str, entry: ServiceEntry, host: Host, spec: JSON) -> Emitted:
    """Wrap a spec in what every object of ours carries: name, label, annotation, owner."""
    key = Key(entry.key.namespace, host.object_name)
    metadata: dict[str, JSON] = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": {MANAGED_BY: MANAGER},
        "annotations": {OWNER_ANNOTATION: str(entry.key)},
    }
    if entry.uid:
        metadata["ownerReferences"] = [_owner_reference(entry)]
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return Emitted(kind, key, host.canonical, entry, manifest, fingerprint(spec, str(entry.key), entry.uid))


def fingerprint(spec: JSON, owner: str, owner_uid: str) -> str:
    """Digest what we write of an object, so that a cache need not keep its spec to notice drift."""
    canonical = json.dumps([spec, owner, owner_uid], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(canonical.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _owner_reference(entry: ServiceEntry) -> JSON:
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceEntry",
        "name": entry.key.name,
        "uid": entry.uid,
        "controller": True,
    }


def _routes(host: Host, port: Port, tuning: Tuning, *, several: bool) -> Iterator[JSON]:
    match: dict[str, JSON] = {"port": port.number} if several else {}
    if tuning.retry_on_unsafe is not None:
        unsafe = {**match, "method": {"regex": UNSAFE_METHODS}}
        yield _route(host, port, tuning, unsafe, tuning.retry_on_unsafe)
    yield _route(host, port, tuning, match, tuning.retry_on)


def _route(host: Host, port: Port, tuning: Tuning, match: JSON, retry_on: tuple[str, ...]) -> JSON:
    """Write one route; a needless `match` would lose it on a sidecar's HTTP-proxy port."""
    destination = {"host": host.text, "port": {"number": port.number}}
    return {
        **({"match": [match]} if match else {}),
        "route": [{"destination": destination, "weight": 100}],
        "timeout": str(tuning.timeout),
        "retries": _retries(tuning, retry_on),
    }


def _retries(tuning: Tuning, retry_on: tuple[str, ...]) -> JSON:
    """Write the retries; with none, istiod refuses every other field."""
    if tuning.attempts == 0 or not retry_on:
        return {"attempts": 0}
    return {
        "attempts": tuning.attempts,
        "perTryTimeout": str(tuning.per_try_timeout),
        "retryOn": ",".join(retry_on),
        **tuning.options,
    }


def _services(entry: ServiceEntry, cluster_domains: Collection[str]) -> Iterator[Finding]:
    named = [index for index, host in enumerate(entry.hosts) if names_service(host.canonical, cluster_domains)]
    if named:
        host = entry.hosts[named[0]].text
        message = f"{quoted(host)} is a Kubernetes Service's name, so nothing is emitted for it"
        path = f"spec.hosts[{named[0]}]"
        yield Finding(KUBERNETES_SERVICE, Severity.WARNING, path, and_more(message, len(named)))


def _disabled(entry: ServiceEntry) -> Iterator[Finding]:
    if VIRTUAL_SERVICE in entry.annotations:
        message = "no VirtualService is emitted, as this annotation asks"
        yield Finding(DISABLED, Severity.INFO, annotation_path(VIRTUAL_SERVICE), message)


def _unread_ports(entry: ServiceEntry) -> Iterator[Finding]:
    unread = [(index, port) for index, port in enumerate(entry.ports) if not port.http]
    if unread:
        index, port = unread[0]
        message = f"{port_label(port.number, port.protocol)} gets no retries: its requests cannot be read"
        path = f"spec.ports[{index}].protocol"
        yield Finding(RETRIES_NOT_APPLICABLE, Severity.INFO, path, and_more(message, len(unread)))
