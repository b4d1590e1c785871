"""Stored objects that route hosts: those of the guard, and others, which may claim a host.

Claims follow istiod: only a valid object that gives sidecars HTTP routes claims a host. Only the compared fields of an
object are stored.
"""

from collections.abc import Collection, Iterator
from sys import intern

from app.core.resources.fields import JSON, Fields
from app.core.resources.hosts import canonical_host, covers
from app.core.resources.records import Record
from app.core.resources.service_entry import GROUP, MANAGED_BY, MANAGER, OWNER_ANNOTATION, REVISION_LABEL, Key
from app.core.routes.virtual_service import SEMANTICS, fingerprint

MESH = "mesh"
HTTP_ROUTE = "HTTPRoute"
ROUTES = frozenset({"VirtualService", HTTP_ROUTE})
"""Kinds of which a sidecar uses only one object for a host."""
KINDS = ("VirtualService", "DestinationRule")
"""The kinds that are emitted."""
RETRYING = frozenset({"5xx", "gateway-error", "reset"})
"""Conditions by which Envoy repeats a request whose connection ended before the answer began."""


class Leg(Record):
    """One HTTP route of a VirtualService: its destination hosts, and whether it retries a reset."""

    index: int
    destinations: tuple[str, ...]
    retries: bool


class Observed(Record):
    """A VirtualService, DestinationRule or HTTPRoute as it is stored, ours or not."""

    kind: str
    key: Key
    uid: str
    resource_version: str
    managed: bool
    claims: tuple[str, ...]
    """Canonical hosts, wildcards included, that it claims for sidecars."""
    export_to: tuple[str, ...]
    fingerprint: str
    created: str = ""
    parents: tuple[Key, ...] = ()
    """ServiceEntries whose hosts an HTTPRoute claims."""
    legs: tuple[Leg, ...] = ()
    """Routes of an object that is not ours."""

    @classmethod
    def parse(cls, manifest: JSON, namespace: str = "default") -> "Observed":
        """Parse an object; `namespace` is used if it has none. Never raises."""
        root = Fields(manifest, "")
        meta, spec = root.child("metadata"), root.child("spec")
        kind, own = root.text("kind"), meta.text("namespace") or namespace
        labels = meta.child("labels")
        parents = tuple(_parents(spec, own)) if kind == HTTP_ROUTE else ()
        managed = labels.text(MANAGED_BY) == MANAGER
        owner = next((uid for ref in meta.children("ownerReferences") if (uid := ref.text("uid"))), "")
        annotations = meta.child("annotations")
        marks = labels.text(REVISION_LABEL), annotations.text(SEMANTICS)
        name = meta.text("name")
        return cls(
            kind=intern(kind),
            key=Key(intern(own), name),
            uid=meta.text("uid"),
            resource_version=meta.text("resourceVersion"),
            managed=managed,
            claims=tuple(name if claim == name else claim for claim in _claims(kind, spec)),  # one object for both
            export_to=_seen_by(own, parents) if kind == HTTP_ROUTE else tuple(spec.texts("exportTo")),
            fingerprint=fingerprint(spec.values, annotations.text(OWNER_ANNOTATION), owner, marks),
            created=meta.text("creationTimestamp"),
            parents=parents,
            legs=tuple(_legs(spec)) if kind == "VirtualService" and not managed else (),
        )

    @property
    def public(self) -> bool:
        """Whether every namespace sees it."""
        return not self.export_to or "*" in self.export_to

    def visible(self, namespace: str) -> bool:
        """Say whether sidecars of a namespace see it."""
        home = self.key.namespace == namespace
        return self.public or namespace in self.export_to or (home and ("." in self.export_to))

    def visible_beyond(self, namespace: str) -> bool:
        """Say whether sidecars of any other namespace see it."""
        own = self.key.namespace
        return self.public or any((own if name == "." else name) != namespace for name in self.export_to)

    def decides(self, host: str, parents: Collection[Key]) -> bool:
        """Say whether it claims a canonical host, itself or by a parent that is one of the entries for the host."""
        return any(covers(claim, host) for claim in self.claims) or any(parent in parents for parent in self.parents)

    def legs_to(self, host: str) -> tuple[Leg, ...]:
        """Return the routes that lead to a host."""
        return tuple(leg for leg in self.legs if host in leg.destinations)


def _claims(kind: str, spec: Fields) -> tuple[str, ...]:
    """Return the hosts that an object claims for sidecars: none if istiod rejects it, or if it has no HTTP routes."""
    if kind == "DestinationRule":
        return tuple(map(canonical_host, filter(None, [spec.text("host")])))
    if kind != "VirtualService" or "~" in tuple(spec.texts("exportTo")):
        return ()
    gateways, hosts = tuple(spec.texts("gateways")), tuple(spec.texts("hosts"))
    for_mesh = (not gateways or MESH in gateways) and "*" not in hosts
    return tuple(map(canonical_host, hosts)) if for_mesh and any(_for_mesh(route) for route in _http(spec)) else ()


def _for_mesh(route: Fields) -> bool:
    """Say whether sidecars use a route: it has no match, or one that is not for gateways only."""
    matches = tuple(route.children("match"))
    return not matches or any(not (names := tuple(match.texts("gateways"))) or MESH in names for match in matches)


def _parents(spec: Fields, namespace: str) -> Iterator[Key]:
    for parent in spec.children("parentRefs"):
        if (parent.text("group"), parent.text("kind")) == (GROUP, "ServiceEntry"):
            yield Key(parent.text("namespace") or namespace, parent.text("name"))


def _seen_by(namespace: str, parents: tuple[Key, ...]) -> tuple[str, ...]:
    """Return the namespaces of an HTTPRoute: all if it is in its ServiceEntry's namespace, else its own (GEP-1426)."""
    return () if any(parent.namespace == namespace for parent in parents) else (namespace,)


def _legs(spec: Fields) -> Iterator[Leg]:
    for index, route in enumerate(_http(spec)):
        named = (leg.child("destination").text("host") for leg in route.children("route"))
        yield Leg(index, tuple(map(canonical_host, filter(None, named))), _retries(route))


def _retries(route: Fields) -> bool:
    """Say whether a route retries a reset; istiod's default conditions do not."""
    retries = route.child("retries")
    return bool(retries.number("attempts")) and bool(RETRYING & {*retries.text("retryOn").split(",")})


def _http(spec: Fields) -> Iterator[Fields]:
    return spec.children("http")
