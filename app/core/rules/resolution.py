"""The decision table for the resolution of one ServiceEntry.

It follows Istio's own validation (`ValidateServiceEntry`): no change makes an entry that istiod would reject.
"""

from collections.abc import Sequence
from ipaddress import ip_address

from app.core.policy.model import Mode, Settings, Static, Tcp, Unfixable, Wildcards
from app.core.resources.globs import matches
from app.core.resources.hosts import HostKind
from app.core.resources.records import Record
from app.core.resources.service_entry import TLS_PORT, ServiceEntry
from app.core.rules import templates
from app.core.rules.catalogue import (
    MALFORMED,
    OPAQUE_PORTS,
    RESOLUTION_CHANGED,
    ROUND_ROBIN,
    STATIC_ENDPOINTS,
    WILDCARD_ENTRY,
)
from app.core.rules.findings import Finding, Severity, and_more, quoted
from app.core.rules.obstacles import OBSTACLES

DYNAMIC_PROTOCOLS = frozenset({"HTTP", "HTTP2", "GRPC", "TLS"})
"""The protocols that istiod accepts with DYNAMIC_DNS."""
RESOLVING = ("DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")
"""The resolutions that resolve a name."""


class Decision(Record):
    """The result of the table: the resolution to store (None: keep it), and the findings."""

    findings: tuple[Finding, ...] = ()
    resolution: str | None = None


def looked_at(entry: ServiceEntry, settings: Settings) -> bool:
    """Say whether the policy applies to the namespace of an entry."""
    return settings.mode is not Mode.OFF and not matches(entry.key.namespace, settings.scope.excluded_namespaces)


def in_scope(entry: ServiceEntry, settings: Settings) -> bool:
    """Say whether an entry is in the scope of the policy, regardless of exemptions."""
    return looked_at(entry, settings) and entry.location in settings.scope.locations


def malformed(entry: ServiceEntry) -> Finding | None:
    """Return a finding on the first field of a wrong type."""
    if not entry.problems:
        return None
    first, *others = entry.problems
    message = and_more(f"must be {first.expected}", 1 + len(others))
    return Finding(MALFORMED, Severity.ERROR, first.path, message)


def decide(entry: ServiceEntry, settings: Settings) -> Decision:
    """Look up an entry that is in scope and well-formed in the table."""
    if entry.resolution in RESOLVING:
        return Decision((_round_robin(settings),) if entry.resolution == "DNS_ROUND_ROBIN" else ())
    if not entry.names_host and settings.resolution.tcp is Tcp.LEAVE:
        return _opaque(entry)
    if entry.resolution == "STATIC" and (entry.endpoints or entry.workload_selector):
        return _static(entry, settings)
    if _dynamic_shape(entry):
        return _wildcards(entry, settings)
    obstacles = [finding for obstacle in OBSTACLES if (finding := obstacle.find(entry, settings))]
    if obstacles and not entry.names_host:
        return _opaque(entry)
    return _unfixable(obstacles, settings) if obstacles else _change(entry, "DNS", settings)


def _round_robin(settings: Settings) -> Finding:
    severity = Severity.WARNING if settings.mode is Mode.ENFORCE else Severity.INFO
    return Finding(ROUND_ROBIN, severity, "spec.resolution", "Envoy never drains the connections of DNS_ROUND_ROBIN")


def _opaque(entry: ServiceEntry) -> Decision:
    """Keep the resolution of an entry with TCP ports only: DNS would send all connections on a port to one host."""
    tls = any(port.number == TLS_PORT for port in entry.ports)
    message = f"no port names its host, so resolution {entry.resolution} is kept"
    instead = "If clients speak TLS on port 443, write protocol: TLS for it; otherwise nothing." if tls else ""
    return Decision((Finding(OPAQUE_PORTS, Severity.INFO, "spec.ports", message, instead=instead),))


def _static(entry: ServiceEntry, settings: Settings) -> Decision:
    severity = _STATIC_SEVERITY[settings.resolution.static]
    if severity is not Severity.ERROR and entry.endpoints and all(map(_stays, entry.endpoints)):
        message = f"{quoted(entry.endpoints[0])} is a loopback or link-local address, which no DNS change affects"
        return Decision((Finding(STATIC_ENDPOINTS, Severity.INFO, "spec.endpoints", message),))
    return Decision((Finding(STATIC_ENDPOINTS, severity, "spec.resolution", templates.STATIC_ENDPOINTS),))


def _stays(address: str) -> bool:
    """Say whether an address is a loopback or link-local address, which never changes."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return parsed.is_loopback or parsed.is_link_local


def _wildcards(entry: ServiceEntry, settings: Settings) -> Decision:
    choice = settings.resolution.wildcards
    if choice is Wildcards.DYNAMIC_DNS and entry.location == "MESH_EXTERNAL":
        return _change(entry, "DYNAMIC_DNS", settings)
    severity = Severity.INFO if choice is Wildcards.ALLOW else Severity.ERROR
    message = templates.WILDCARD_ENTRY.format(host=quoted(entry.hosts[0].text))
    return Decision((Finding(WILDCARD_ENTRY, severity, "spec.hosts", message),))


def _unfixable(obstacles: Sequence[Finding], settings: Settings) -> Decision:
    if settings.resolution.unfixable is Unfixable.DENY:
        return Decision(tuple(obstacles))
    return Decision(
        tuple(Finding(finding.rule, Severity.WARNING, finding.path, finding.message) for finding in obstacles)
    )


def _change(entry: ServiceEntry, resolution: str, settings: Settings) -> Decision:
    enforced = settings.mode is Mode.ENFORCE
    change = templates.BECOMES if enforced else templates.WOULD_BECOME
    message = templates.RESOLUTION_CHANGED.format(resolution=entry.resolution, change=change, target=resolution)
    finding = Finding(RESOLUTION_CHANGED, Severity.WARNING, "spec.resolution", message)
    return Decision((finding,), resolution if enforced else None)


def _dynamic_shape(entry: ServiceEntry) -> bool:
    return (
        entry.resolution == "NONE"
        and entry.names_host
        and all(host.kind is HostKind.WILDCARD for host in entry.hosts)
        and all(port.protocol in DYNAMIC_PROTOCOLS for port in entry.ports)
        and not (entry.addresses or entry.endpoints or entry.workload_selector)
    )


_STATIC_SEVERITY = {Static.ALLOW: Severity.INFO, Static.WARN: Severity.WARNING, Static.DENY: Severity.ERROR}
