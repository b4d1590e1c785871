"""Kubernetes objects as the rules see them: parsed once, frozen, and total over any JSON value.

Only fields that a rule reads are stored, so that ten thousand objects fit in a controller's cache. A value of a wrong
type becomes a `Problem`, and the rules turn problems into a finding.
"""

from collections.abc import Mapping
from functools import lru_cache
from sys import intern

import msgspec

from app.core.resources.ambient import NOTHING, Ambient
from app.core.resources.days import LENGTH
from app.core.resources.fields import JSON, Fields, Problem
from app.core.resources.hosts import Host
from app.core.resources.records import Record

GROUP = "networking.istio.io"
GATEWAY_GROUP = "gateway.networking.k8s.io"
ADMISSION_GROUP = "admissionregistration.k8s.io"
API_VERSION = f"{GROUP}/v1"
VERSIONS = ("v1", "v1beta1", "v1alpha3")
"""The versions of Istio's networking group that have a ServiceEntry."""
PREFIX = "serviceentry-guard.io/"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "serviceentry-guard"
"""The name of the product: of our label's value, the field manager, the distribution and the default namespace."""
OWNER_ANNOTATION = f"{PREFIX}service-entry"

RESOLUTIONS = ("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")
LOCATIONS = ("MESH_EXTERNAL", "MESH_INTERNAL")

HTTP_ROUTED = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB"})
"""Protocols to which the HTTP routes of a VirtualService apply."""
HTTP_FAMILY = HTTP_ROUTED | {"HTTP_PROXY"}
TLS_FAMILY = frozenset({"HTTPS", "TLS"})
NAMING = HTTP_FAMILY | TLS_FAMILY
"""Protocols whose requests or handshakes name their host."""
STREAMING = frozenset({"GRPC", "GRPC-WEB"})
"""Protocols without a default timeout in Istio."""
TLS_PORT = 443
NO_ANNOTATIONS: Mapping[str, str] = {}
"""One object for all entries without an annotation of ours."""
REVISION_LABEL = "istio.io/rev"
"""The label by which a revision of istiod selects its objects."""


class Port(Record):
    """One port of a ServiceEntry; `protocol` in upper case, `target` 0 where unset."""

    number: int
    protocol: str
    target: int

    @property
    def http(self) -> bool:
        """Whether HTTP routes, and so retries, apply."""
        return self.protocol in HTTP_ROUTED

    @property
    def names_host(self) -> bool:
        """Whether each request or handshake names its host."""
        return self.protocol in NAMING

    @property
    def streams(self) -> bool:
        """Whether calls may be long streams."""
        return self.protocol in STREAMING

    @property
    def served(self) -> bool:
        """Whether istiod applies a VirtualService of the host that names no port; one without a protocol is sniffed."""
        return self.protocol in HTTP_FAMILY or not self.protocol


class Key(Record):
    """Namespace and name of an object; sorts like text."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Format it like kubectl and our annotation: namespace/name."""
        return f"{self.namespace}/{self.name}"


class ServiceEntry(Record):
    """A networking.istio.io ServiceEntry, any of its served versions (their fields are the same)."""

    key: Key
    uid: str = ""
    created: str = ""
    terminating: bool = False
    annotations: Mapping[str, str] = {}
    revision: str = ""
    """The revision of istiod that reads the entry, "" for all."""
    hosts: tuple[Host, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    location: str = "MESH_EXTERNAL"
    resolution: str = "NONE"
    resolution_set: bool = False
    endpoints: tuple[str, ...] = ()
    """The address of each endpoint, "" if it has none."""
    workload_selector: bool = False
    export_to: tuple[str, ...] = ()
    written: str = ""
    """The day (UTC) of the last write of the spec or of one of our annotations, "" if unknown."""
    ambient: Ambient = NOTHING
    """The waypoint that its labels or its status name."""
    problems: tuple[Problem, ...] = ()

    @property
    def public(self) -> bool:
        """Whether every namespace sees it."""
        return not self.export_to or "*" in self.export_to

    @property
    def names_host(self) -> bool:
        """Whether some port has a protocol that names its host."""
        return any(port.protocol in NAMING for port in self.ports)

    @classmethod
    def parse(cls, manifest: JSON, namespace: str = "default", written: str | None = None) -> "ServiceEntry":
        """Parse a manifest; `namespace` is used if the manifest has none.

        Never raises. `written` is the day of a manifest that is being written; None: a stored one, whose managedFields
        have the day.
        """
        found, problems = _read(manifest)
        meta, spec = found.metadata or _NO_METADATA, found.spec or _NO_SPEC
        return cls(
            key=Key(intern(meta.namespace or namespace), meta.name or meta.generate_name or ""),
            uid=meta.uid or "",
            created=meta.creation_timestamp or "",
            terminating=bool(meta.deletion_timestamp),
            annotations=_own(meta.annotations) if meta.annotations else NO_ANNOTATIONS,
            revision=meta.labels.get(REVISION_LABEL, "") if meta.labels else "",
            hosts=tuple([Host.parse(host) for host in spec.hosts or ()]),
            addresses=tuple(spec.addresses or ()),
            ports=_ports(tuple([_declared(port) for port in spec.ports or ()])),
            location=intern(spec.location or "MESH_EXTERNAL"),
            resolution=intern(spec.resolution or "NONE"),
            resolution_set=spec.resolution is not msgspec.UNSET,
            endpoints=tuple([endpoint.address or "" for endpoint in spec.endpoints or ()]),
            workload_selector=spec.workload_selector is not None,
            export_to=tuple(spec.export_to or ()),
            written=intern(_last_write(manifest)) if written is None else written,
            ambient=Ambient.read(meta.labels, found.status),
            problems=problems,
        )


class _Port(msgspec.Struct, rename="camel", gc=False):
    number: int | None = None
    protocol: str | None = None
    target_port: int | None = None


class _Endpoint(msgspec.Struct, gc=False):
    address: str | None = None


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    namespace: str | None = None
    name: str | None = None
    generate_name: str | None = None
    uid: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel", gc=False):
    hosts: list[str] | None = None
    addresses: list[str] | None = None
    ports: list[_Port] | None = None
    location: str | None = None
    resolution: str | msgspec.UnsetType | None = msgspec.UNSET
    endpoints: list[_Endpoint] | None = None
    workload_selector: JSON = None
    export_to: list[str] | None = None


class _Document(msgspec.Struct, gc=False):
    """The fields that are read; null counts as absent, as it does for the API server."""

    metadata: _Metadata | None = None
    spec: _Spec | None = None
    status: JSON = None


_NO_METADATA, _NO_SPEC = _Metadata(), _Spec()


def _read(manifest: JSON) -> tuple[_Document, tuple[Problem, ...]]:
    """Read all fields at once, or one by one if one of them has a wrong type or value."""
    try:
        found = msgspec.convert(manifest, _Document)
    except msgspec.ValidationError:
        return _read_each(manifest)
    spec = found.spec
    sound = spec and spec.hosts and (spec.resolution or "NONE") in RESOLUTIONS
    if spec and sound and (spec.location or "MESH_EXTERNAL") in LOCATIONS:
        return found, ()
    return _read_each(manifest)


def _read_each(manifest: JSON) -> tuple[_Document, tuple[Problem, ...]]:
    """Read one field after the other, and return the problems too."""
    root = Fields(manifest, "")
    meta, spec = root.child("metadata"), root.child("spec")
    if not spec.values.get("hosts"):
        spec.report("hosts", "a list with at least one host")
    resolution = spec.choice("resolution", RESOLUTIONS)
    namespace, name = meta.text("namespace"), meta.text("name")
    metadata = _Metadata(
        namespace=namespace,
        name=name or meta.text("generateName"),
        uid=meta.text("uid"),
        creation_timestamp=meta.text("creationTimestamp"),
        deletion_timestamp=meta.text("deletionTimestamp"),
        annotations=_annotations(meta),
        labels=_labels(meta.child("labels")),
    )
    fields = _Spec(
        hosts=spec.texts("hosts"),
        addresses=spec.texts("addresses"),
        ports=[_port(port) for port in spec.children("ports")],
        location=spec.choice("location", LOCATIONS),
        resolution=resolution if "resolution" in spec.values else msgspec.UNSET,
        endpoints=[_Endpoint(endpoint.text("address")) for endpoint in spec.children("endpoints")],
        workload_selector=spec.values.get("workloadSelector"),
        export_to=spec.texts("exportTo"),
    )
    return _Document(metadata, fields, root.values.get("status")), tuple(root.problems)


def _labels(labels: Fields) -> dict[str, str]:
    """Return the labels that are texts; only that of the revision must be one."""
    labels.text(REVISION_LABEL)
    return {name: value for name, value in labels.values.items() if isinstance(value, str)}


def _port(port: Fields) -> _Port:
    protocol = port.text("protocol")
    return _Port(port.number("number"), protocol, port.number("targetPort"))


def _own(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """Remove our prefix from the annotations that carry it, and leave out the others."""
    own = {name.removeprefix(PREFIX): text for name, text in annotations.items() if name.startswith(PREFIX)}
    return own or NO_ANNOTATIONS


def own_annotations(meta: Fields) -> Mapping[str, str]:
    """Return the annotations that carry our prefix, without it."""
    return _own(_annotations(meta))


def _annotations(meta: Fields) -> dict[str, str]:
    """Return the annotations that carry our prefix, with it; each of them must be a text."""
    annotations = meta.child("annotations")
    return {name: annotations.text(name) for name in annotations.values if str(name).startswith(PREFIX)}


def _last_write(manifest: JSON) -> str:
    """Return the day of the last write by a field manager that owns some of the spec, or an annotation of ours."""
    meta = Fields(manifest, "").child("metadata")
    times = [meta.text("creationTimestamp")]
    for manager in meta.children("managedFields"):
        fields = manager.child("fieldsV1")
        owned = fields.child("f:metadata").child("f:annotations").values
        ours = any(str(name).startswith(f"f:{PREFIX}") for name in owned)
        if not manager.text("subresource") and ("f:spec" in fields.values or ours):
            times.append(manager.text("time"))
    return max(times)[:LENGTH]


@lru_cache(maxsize=1024)
def _ports(declared: tuple[tuple[int, str, int], ...]) -> tuple[Port, ...]:
    """Return the same object for equal ports, to save time and memory: most entries share a few."""
    return tuple(Port(*one) for one in declared)


def _declared(port: _Port) -> tuple[int, str, int]:
    protocol = port.protocol or ""
    # Only ASCII is folded: U+017F (the long s) would become an ordinary "S", and match HTTPS, unlike in Istio.
    return port.number or 0, protocol.upper() if protocol.isascii() else protocol, port.target_port or 0
