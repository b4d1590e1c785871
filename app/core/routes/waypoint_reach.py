"""What is emitted for a host reaches the waypoint that serves its ServiceEntry, and no sidecar beside that waypoint.

A waypoint acts on a VirtualService if the namespace of the waypoint sees it; the entry's exportTo does not matter
there. So that namespace is added to exportTo. A sidecar of that namespace would take the VirtualService as well: on
port 80 it would have a route to a cluster that it lacks. Where labels do not say that there is no sidecar, the
VirtualService therefore gets the semantics of an HTTPRoute, which istiod gives only to sidecars that know the entry.
"""

from collections.abc import Iterator

from app.core.resources.records import Record
from app.core.resources.service_entry import Key
from app.core.routes.candidates import EVERYONE, OWN, exported_to
from app.core.routes.homes import Note, Served
from app.core.routes.host_entries import HTTP_PORT
from app.core.routes.index import Neighbours
from app.core.routes.observed import ROUTES, Observed
from app.core.rules.findings import Finding, Severity, printable, quoted
from app.core.rules.waypoint_catalogue import (
    ROUTED_BEFORE,
    RULE_NOT_AT_WAYPOINT,
    WAYPOINT_NOT_REACHED,
    WILDCARD_CAPTURED,
)

NO_NOTES = tuple[Note, ...]()


class AtWaypoints(Record):
    """Who sees what is emitted, None if no one does; whether it has an HTTPRoute's semantics; and what to tell."""

    export_to: tuple[str, ...] | None
    as_http_route: bool = False
    notes: tuple[Note, ...] = NO_NOTES


def at_waypoints(kind: str, served: Served, neighbours: Neighbours, export_to: tuple[str, ...] | None) -> AtWaypoints:
    """Make objects of a home visible to the waypoints that serve its entries, and hide them from those they harm."""
    routes = kind == "VirtualService"
    harmed = dict(neighbours.waypoints.hidden) if routes else {}
    kept = _without(served, harmed, export_to) if harmed else export_to
    missed = dict(_missed(served, neighbours, kept))
    told = tuple(_captured(served, harmed, missed, confined=kept != export_to)) if harmed else NO_NOTES
    missed = {entry: waypoint for entry, waypoint in missed.items() if waypoint.namespace not in harmed}
    if not missed:
        return AtWaypoints(kept, notes=told)
    if not routes:
        return AtWaypoints(kept, notes=tuple(_unseen(served, missed)))
    found = {waypoint: _obstacle(served, neighbours, waypoint) for waypoint in missed.values()}
    notes = ((entry, one) for entry, waypoint in missed.items() if (one := found[waypoint]))
    added = {waypoint.namespace for waypoint, obstacle in found.items() if not obstacle}
    harmful = _on_port_80(served) and not neighbours.waypoints.plain.issuperset(added)
    names = sorted(OWN if name == served.home.namespace else name for name in added)
    return AtWaypoints((*(kept or ()), *names) or None, harmful, (*told, *notes))


def _without(served: Served, harmed: dict[str, Key], export_to: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Take the namespaces of waypoints from exportTo where calls of another entry would be led astray."""
    home = served.home.namespace
    names = {OWN: home} if _is_public(export_to) else {name: home if name == OWN else name for name in export_to or ()}
    return tuple(name for name, namespace in names.items() if namespace not in harmed) or None


def _captured(served: Served, harmed: dict[str, Key], missed: dict[Key, Key], *, confined: bool) -> Iterator[Note]:
    """Tell the entries of a home that a waypoint does not see what is emitted for them, for the sake of another one."""
    other = min(harmed.values(), key=str)
    message = f"a waypoint would take the VirtualService of {quoted(served.home.host)} for ServiceEntry {other} too"
    finding = Finding(WILDCARD_CAPTURED, Severity.WARNING, "spec.hosts", message, ("ServiceEntry", other))
    for one in served.home.entries:
        if confined or (one.key in missed and missed[one.key].namespace in harmed):
            yield one.key, finding


def _missed(served: Served, neighbours: Neighbours, export_to: tuple[str, ...] | None) -> Iterator[tuple[Key, Key]]:
    """Yield the entries of a home whose waypoint does not see what is emitted, with that waypoint."""
    if _is_public(export_to):
        return
    emitting = {one.key for one in served.home.entries}
    for entry, waypoint in neighbours.waypoints.bound:
        name = OWN if waypoint.namespace == served.home.namespace else waypoint.namespace
        if entry in emitting and name not in (export_to or ()):
            yield entry, waypoint


def _obstacle(served: Served, neighbours: Neighbours, waypoint: Key) -> Finding | None:
    """Say why a VirtualService is not exported to the namespace of a waypoint."""
    if claim := min(_before(served, neighbours, waypoint), key=lambda one: str(one.key), default=None):
        message = f"at waypoint {_named(waypoint)}, {claim.kind} {printable(str(claim.key))} routes "
        message += f"{quoted(served.home.host)} before the VirtualService of the guard would"
        return Finding(ROUTED_BEFORE, Severity.WARNING, "spec.hosts", message, (claim.kind, claim.key))
    plain = waypoint.namespace in neighbours.waypoints.plain
    if served.home.host.startswith("*") and _on_port_80(served) and not plain:
        message = f"waypoint {_named(waypoint)} does not see what is emitted for {quoted(served.home.host)}: "
        message += f"namespace {printable(waypoint.namespace)} has, or may have, sidecars"
        return Finding(WAYPOINT_NOT_REACHED, Severity.WARNING, "spec.hosts", message)
    return None


def _before(served: Served, neighbours: Neighbours, waypoint: Key) -> Iterator[Observed]:
    """Yield the objects of others that a waypoint takes first: of its namespace or the entry's, and seen by it."""
    for one in neighbours.observed:
        acts = one.key.namespace in {waypoint.namespace, served.home.namespace} and one.visible(waypoint.namespace)
        if acts and not one.managed and one.kind in ROUTES and one.decides(neighbours.host, neighbours.parents):
            yield one


def _unseen(served: Served, missed: dict[Key, Key]) -> Iterator[Note]:
    for entry, waypoint in missed.items():
        message = f"the DestinationRule of {quoted(served.home.host)} does not act at waypoint {_named(waypoint)}: "
        message += f"namespace {printable(waypoint.namespace)} does not see both the entry and the DestinationRule"
        yield entry, Finding(RULE_NOT_AT_WAYPOINT, Severity.WARNING, "spec.exportTo", message)


def _is_public(export_to: tuple[str, ...] | None) -> bool:
    """Say whether every namespace sees an object with this exportTo."""
    return export_to is not None and exported_to(export_to, OWN) == EVERYONE


def _on_port_80(served: Served) -> bool:
    """Say whether a sidecar that does not know the host would get a route for it: istiod writes those of port 80."""
    return any(one.port.number == HTTP_PORT for one in served.routed)


def _named(waypoint: Key) -> str:
    return printable(str(waypoint))
