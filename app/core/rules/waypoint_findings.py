"""Findings on one ServiceEntry in an ambient mesh: where its calls do not come to a waypoint.

The webhook says what the entry's own labels and status show. With the labels of its namespace, and with the entries of
other namespaces, the controller, review and audit say more.
"""

from collections.abc import Iterator

from app.core.resources.hosts import HostKind
from app.core.resources.namespaces import Namespace, waypoint_of
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.findings import Finding, Severity, port_label, printable, quoted
from app.core.rules.resolution import RESOLVING
from app.core.rules.waypoint_catalogue import (
    AMBIENT_WILDCARD,
    BYPASSES_WAYPOINT,
    NO_WAYPOINT,
    WAYPOINT_REFUSED,
    WAYPOINT_SHARED,
)

LABELS = "metadata.labels"
AT_WAYPOINTS = frozenset({"HTTP", "TLS"})
"""Protocols of which a waypoint serves wildcard hosts."""


def waypoint_findings(entry: ServiceEntry, resolution: str, namespace: Namespace | None = None) -> tuple[Finding, ...]:
    """Tell the author of an entry that is stored with a resolution what labels and its status show.

    `namespace` is that of the entry, None if its labels are not known.
    """
    return tuple(_found(entry, resolution, namespace))


def shared_finding(entry: ServiceEntry, host: str, waypoint: Key, other: Key) -> Finding:
    """Say that a waypoint serves a host for an entry of another namespace as well."""
    stays = "" if entry.resolution in RESOLVING else f", so resolution stays {entry.resolution}"
    message = f"waypoint {_named(waypoint)} serves {quoted(host)} for ServiceEntry {other} too{stays}"
    return Finding(WAYPOINT_SHARED, Severity.WARNING, "spec.hosts", message, ("ServiceEntry", other))


def kept_at_waypoint(entry: ServiceEntry, other: Key, message: str) -> Finding:
    """Say that an entry keeps its resolution beside one of another namespace, as the controller has said it."""
    said = message.partition(", so resolution stays")[0]
    return Finding(
        WAYPOINT_SHARED,
        Severity.WARNING,
        "spec.hosts",
        f"{said}, so resolution stays {entry.resolution}",
        ("ServiceEntry", other),
    )


def _found(entry: ServiceEntry, resolution: str, namespace: Namespace | None) -> Iterator[Finding]:
    waypoint = waypoint_of(entry, namespace)
    if entry.ambient.refused:
        message = f"no waypoint serves the entry, as its status says: {printable(entry.ambient.refused)}"
        yield Finding(WAYPOINT_REFUSED, Severity.WARNING, "status.conditions", message)
    elif waypoint or entry.ambient.waypoint or (namespace and namespace.in_ambient):
        wild = next((host.text for host in entry.hosts if host.kind is HostKind.WILDCARD), None)
        if wild is not None:
            yield from _wildcard(entry, resolution, wild, waypoint)
        elif waypoint is None:
            yield from _without_waypoint(entry, namespace)
        elif resolution == "NONE" and not entry.addresses:
            message = f"resolution NONE without addresses: calls bypass waypoint {_named(waypoint)}"
            yield Finding(BYPASSES_WAYPOINT, Severity.WARNING, "spec.resolution", message)


def _without_waypoint(entry: ServiceEntry, namespace: Namespace | None) -> Iterator[Finding]:
    http = [(index, port) for index, port in enumerate(entry.ports) if port.http]
    if not http:
        return
    index, port = http[0]
    opted_out = entry.ambient.opted_out or (namespace is not None and namespace.labels.opted_out)
    severity = Severity.INFO if opted_out else Severity.WARNING
    why = f"label istio.io/use-waypoint is {quoted('none')}" if opted_out else "no waypoint serves the entry"
    message = f"{port_label(port.number, port.protocol)} gets no retries in an ambient mesh: {why}"
    yield Finding(NO_WAYPOINT, severity, f"spec.ports[{index}].protocol", message)


def _wildcard(entry: ServiceEntry, resolution: str, host: str, waypoint: Key | None) -> Iterator[Finding]:
    port = next((index for index, port in enumerate(entry.ports) if port.protocol not in AT_WAYPOINTS), None)
    if waypoint is None:
        path, lacks = LABELS, "no waypoint serves the entry"
    elif resolution != "DYNAMIC_DNS":
        path, lacks = "spec.resolution", f"its resolution is {resolution}"
    elif port is not None:
        declared = entry.ports[port]
        path, lacks = f"spec.ports[{port}].protocol", f"{port_label(declared.number, declared.protocol)} is not served"
    else:
        return
    message = f"wildcard host {quoted(host)} does not work in an ambient mesh: {lacks}"
    yield Finding(AMBIENT_WILDCARD, Severity.WARNING, path, message)


def _named(waypoint: Key) -> str:
    return printable(str(waypoint))
