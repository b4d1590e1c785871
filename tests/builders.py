"""Objects that many tests build."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from app.core.policy.model import GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.index import Index
from app.core.routes.observed import Observed
from app.core.rules.patch import LAST_APPLIED

HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
HTTPS = {"number": 443, "name": "https", "protocol": "HTTPS"}
TLS = {"number": 443, "name": "tls", "protocol": "TLS"}
TCP = {"number": 27017, "name": "tcp", "protocol": "TCP"}
HOST = "api.example.com"
"""The host of what is built, where nothing else is said."""
CIDR: dict[str, Any] = {"resolution": "NONE", "addresses": ["192.0.2.0/24"]}
"""The part of a spec that keeps an entry from becoming DNS."""


IDENTITY = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
"""The first lines of every policy."""


def entry(*arguments: str, **fields: Any) -> ServiceEntry:
    """A ServiceEntry, parsed: `manifest` has the arguments."""
    return ServiceEntry.parse(manifest(*arguments, **fields))


def manifest(
    name: str = "api",
    namespace: str = "team",
    created: str = "",
    *,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    terminating: bool = False,
    **spec: Any,
) -> dict[str, Any]:
    """A ServiceEntry; what is not given is one host, port 80/HTTP and resolution DNS. Annotations lack our prefix."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"{namespace}-{name}",
        "creationTimestamp": created,
        "annotations": {f"serviceentry-guard.io/{each}": text for each, text in (annotations or {}).items()},
        "labels": dict(labels or {}),
        **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if terminating else {}),
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": metadata,
        "spec": {"hosts": [HOST], "ports": [HTTP], "resolution": "DNS", **spec},
    }


def applied(manifest: Mapping[str, Any], text: str | None = None) -> dict[str, Any]:
    """A manifest as `kubectl apply` sends it: an annotation has the manifest (or this text) once more."""
    metadata = manifest.get("metadata", {})
    annotations = {**metadata.get("annotations", {}), LAST_APPLIED: json.dumps(manifest) if text is None else text}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def route(*destinations: str, **fields: Any) -> dict[str, Any]:
    """An HTTP route of a VirtualService that leads to some hosts."""
    return {"route": [{"destination": {"host": host}} for host in destinations], **fields}


def virtual_service(name: str = "theirs", namespace: str = "team", **spec: Any) -> dict[str, Any]:
    """A VirtualService that is not the guard's; what is not given is one host, and a route to it without retries."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [HOST], "http": [route(HOST)], **spec},
    }


def guard_policy(**document: Any) -> GuardPolicy:
    """A policy; what is not given is the recipe, and that teams may exempt their entries."""
    return policy(**{"exemptions": {"annotation": "Allow"}, **document})


def policy(**document: Any) -> GuardPolicy:
    """A policy; what is not given is the recipe."""
    return parse_policy({**IDENTITY, **document})


def indexed(
    entries: Iterable[ServiceEntry], observed: Iterable[Observed] = (), policy: GuardPolicy | None = None
) -> Index:
    """An index of some entries and objects under a policy, the default one if none is given."""
    index = Index(policy)
    for number, one in enumerate(entries):
        index.put_entry(None, one, number)
    for other in observed:
        index.put_object(None, other)
    return index
