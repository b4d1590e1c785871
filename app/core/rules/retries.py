"""Findings on the VirtualServices of one entry: ports and hosts that get no retries."""

from collections.abc import Collection, Iterator

from app.core.resources.hosts import names_pod, names_service
from app.core.resources.service_entry import TLS_FAMILY, TLS_PORT, Port, ServiceEntry
from app.core.rules.annotations import PER_TRY_TIMEOUT, TIMEOUT, VIRTUAL_SERVICE
from app.core.rules.catalogue import (
    DISABLED,
    EXPORTED_TO_NO_ONE,
    KUBERNETES_SERVICE,
    RETRIES_NOT_APPLICABLE,
    STREAM_DEADLINE,
    TAKES_ALL_TLS,
)
from app.core.rules.findings import Finding, Severity, and_more, port_label, quoted
from app.core.rules.overrides import Tuning, annotation_path
from app.core.rules.resolution import RESOLVING

NO_ONE = "~"
"""The value of exportTo that hides an entry from every namespace."""


def routable(entry: ServiceEntry, resolution: str) -> bool:
    """Say whether objects are emitted for an entry: with NONE, each retry would go to the same dead address."""
    if entry.terminating or NO_ONE in entry.export_to:
        return False
    return resolution in RESOLVING or (resolution == "STATIC" and bool(entry.endpoints))


def retry_findings(
    entry: ServiceEntry, resolution: str, tuning: Tuning, cluster_domains: Collection[str]
) -> tuple[Finding, ...]:
    """Return the findings on the retries and ports of an entry that is stored with a resolution."""
    found = (*_services(entry, cluster_domains), *_hidden(entry), *_takes_all_tls(entry, resolution))
    if not routable(entry, resolution):
        return found
    reach = (*_unread_ports(entry), *_stream_deadline(entry, tuning)) if tuning.emit else _disabled(entry)
    return (*found, *reach)


def _services(entry: ServiceEntry, cluster_domains: Collection[str]) -> Iterator[Finding]:
    named = [index for index, host in enumerate(entry.hosts) if names_service(host.canonical, cluster_domains)]
    if not named:
        return
    host, path = entry.hosts[named[0]], f"spec.hosts[{named[0]}]"
    pod = names_pod(host.canonical, cluster_domains)
    message = f"{quoted(host.text)} is the name of a Kubernetes {'Pod' if pod else 'Service'}"
    instead = "Write location: MESH_INTERNAL: the Pod is inside the mesh." if pod else ""
    if pod and entry.location == "MESH_INTERNAL":
        return
    message = and_more(f"{message}, so nothing is emitted for it", len(named))
    yield Finding(KUBERNETES_SERVICE, Severity.WARNING, path, message, instead=instead)


def _hidden(entry: ServiceEntry) -> Iterator[Finding]:
    if NO_ONE in entry.export_to:
        message = 'exportTo "~" hides the entry from every namespace, so nothing is emitted for it'
        yield Finding(EXPORTED_TO_NO_ONE, Severity.INFO, "spec.exportTo", message)


def _takes_all_tls(entry: ServiceEntry, resolution: str) -> Iterator[Finding]:
    """Find a port 443 that is not TLS.

    With NONE, a port that names no host keeps the dialled address, so it is harmless.
    """
    for index, port in enumerate(entry.ports):
        if port.number != TLS_PORT or port.protocol in TLS_FAMILY or port.protocol == "HTTP_PROXY":
            continue
        label, path = port_label(port.number, port.protocol), f"spec.ports[{index}].protocol"
        if port.names_host:
            yield Finding(
                TAKES_ALL_TLS, Severity.WARNING, path, f"{label} is read as plain HTTP; clients speak TLS there"
            )
        elif resolution != "NONE" and not entry.addresses:
            message = f"{label} receives every TLS connection of the pod that matches no SNI"
            yield Finding(TAKES_ALL_TLS, Severity.WARNING, path, message)


def _disabled(entry: ServiceEntry) -> Iterator[Finding]:
    if VIRTUAL_SERVICE in entry.annotations:
        message = "this annotation turns the VirtualService off"
        yield Finding(DISABLED, Severity.INFO, annotation_path(VIRTUAL_SERVICE), message)


def _unread_ports(entry: ServiceEntry) -> Iterator[Finding]:
    unread = [(index, port) for index, port in enumerate(entry.ports) if not port.http]
    if unread:
        index, port = unread[0]
        message = f"{port_label(port.number, port.protocol)} {_why_unread(port)}"
        path = f"spec.ports[{index}].protocol"
        yield Finding(RETRIES_NOT_APPLICABLE, Severity.INFO, path, and_more(message, len(unread)))


def _why_unread(port: Port) -> str:
    if port.protocol in TLS_FAMILY:
        return "gets no retries: the sidecar cannot see inside TLS"
    if port.protocol == "HTTP_PROXY":
        return "keeps Istio's own retries: it is a port for proxies"
    if not port.protocol:
        return "keeps Istio's own retries: Istio detects HTTP on it, and the policy's need a declared protocol"
    return "gets no retries: it carries no HTTP requests"


def _stream_deadline(entry: ServiceEntry, tuning: Tuning) -> Iterator[Finding]:
    streams = [(index, port) for index, port in enumerate(entry.ports) if port.streams]
    if not streams:
        return
    index, port = streams[0]
    label, path = port_label(port.number, port.protocol), f"spec.ports[{index}].protocol"
    for annotation, duration, what in (
        (TIMEOUT, tuning.stream_timeout, "ends calls after"),
        (PER_TRY_TIMEOUT, tuning.stream_per_try_timeout, "ends calls that have not begun to answer after"),
    ):
        if duration and duration.milliseconds:
            asked = annotation in entry.annotations
            severity, place = (Severity.WARNING, annotation_path(annotation)) if asked else (Severity.INFO, path)
            yield Finding(STREAM_DEADLINE, severity, place, f"{label} {what} {duration}, streams too")
