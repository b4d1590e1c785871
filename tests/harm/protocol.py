"""What the program istio-generator is asked and answers: the types of `tests/bed/generator/protocol.go`.

An answer describes the configuration that istiod gives a proxy. What has no field of its own is a digest (`rest`).
"""

from typing import Any

from msgspec import Struct, field

Manifest = dict[str, Any]


class Proxy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One proxy of the mesh."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)
    type: str = ""
    captures_dns: bool = field(default=False, name="dnsCapture")
    ip: str = ""
    http_proxy_port: int = field(default=0, name="httpProxyPort")

    @property
    def kind(self) -> str:
        """What it is, without its place."""
        traits = [
            *(f"{name}={value}" for name, value in self.labels.items()),
            *(["DNS capture"] if self.captures_dns else []),
            *(["HTTP proxy"] if self.http_proxy_port else []),
        ]
        return f"{self.type or 'sidecar'} with {' and '.join(traits)}" if traits else self.type or "plain sidecar"

    @property
    def protected(self) -> bool:
        """Whether each host has an address of its own for it, and others are passed through."""
        return self.captures_dns and not self.labels

    def __str__(self) -> str:
        """Name the proxy for a person."""
        return f"{self.kind} in namespace {self.namespace}"


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One cluster, and the proxies whose configuration is wanted."""

    id: int = -1
    manifests: list[Manifest]
    proxies: list[Proxy]
    mesh: dict[str, Any] = field(default_factory=dict)
    revision: str = ""
    allocate: bool = False
    verbose: bool = False


class Weighted(Struct, frozen=True):
    """A cluster and its share."""

    cluster: str
    weight: int


class Match(Struct, frozen=True, kw_only=True):
    """What a filter chain asks of a connection."""

    port: int = 0
    prefixes: tuple[str, ...] = ()
    server_names: tuple[str, ...] = field(default=(), name="serverNames")
    transport: str = ""
    applications: tuple[str, ...] = ()
    other: str = ""


class Chain(Struct, frozen=True, kw_only=True):
    """What becomes of the connections that match; it has either HTTP routes, by name, or clusters."""

    match: Match
    route: str = ""
    clusters: tuple[Weighted, ...] = ()
    idle: float | None = None
    age: float | None = None
    rest: str = ""


class Listener(Struct, frozen=True, kw_only=True):
    """What takes the connections to its addresses and port; `inspectors` look at their first bytes."""

    name: str
    addresses: tuple[str, ...]
    port: int
    chains: tuple[Chain, ...] = ()
    default: Chain | None = None
    inspectors: tuple[str, ...] = ()
    rest: str = ""


class Retry(Struct, frozen=True, kw_only=True):
    """When and how a request is tried again; times in seconds."""

    on: tuple[str, ...]
    attempts: int
    per_try: float | None = field(default=None, name="perTry")
    codes: tuple[int, ...] = ()
    backoff: float | None = None
    rest: str = ""


class Route(Struct, frozen=True, kw_only=True):
    """One HTTP route. Times are in seconds; 0 is no deadline, None leaves Envoy's 15 s."""

    match: str
    clusters: tuple[Weighted, ...] = ()
    direct: str = ""
    timeout: float | None = None
    grpc_timeout: float | None = field(default=None, name="grpcTimeout")
    stream_duration: float | None = field(default=None, name="streamDuration")
    retry: Retry | None = None
    rest: str = ""


class VirtualHost(Struct, frozen=True, kw_only=True):
    """The HTTP routes of some domains: the first whose match holds is taken."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    rest: str = ""


class Endpoint(Struct, frozen=True, kw_only=True):
    """One address of a cluster."""

    address: str
    port: int
    weight: int = 0


class Cluster(Struct, frozen=True, kw_only=True):
    """Where connections go. `host` and `namespace` are those of the service."""

    type: str
    endpoints: tuple[Endpoint, ...] = ()
    host: str = ""
    namespace: str = ""
    http: str = ""
    port_override: int = field(default=0, name="portOverride")
    pool: str = ""
    tls: str = ""
    rest: str = ""


class Description(Struct, frozen=True, kw_only=True):
    """The configuration of one proxy, as far as it is about what its application calls; `inbound` is a digest."""

    listeners: tuple[Listener, ...]
    routes: dict[str, tuple[VirtualHost, ...]]
    clusters: dict[str, Cluster]
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inbound: str = ""


class Rejected(Struct, frozen=True, kw_only=True):
    """An object that istiod's validation rejects; `index` counts the manifests of the request."""

    index: int
    kind: str
    namespace: str
    name: str
    reason: str


class Answer(Struct, frozen=True, kw_only=True):
    """What istiod gives each proxy of a request, in the order of the request."""

    id: int
    error: str = ""
    rejected: tuple[Rejected, ...] = ()
    proxies: tuple[Description, ...] = ()
