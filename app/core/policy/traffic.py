"""The part of the policy about emitted objects: the VirtualService and the DestinationRule of each host."""

import enum
from typing import Annotated

from app.core.policy.fields import Bounds, DurationField, Glob, Permission, SecondsField, TimeoutField, model, setting
from app.core.resources.durations import parse_duration

RETRY_CONDITIONS = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)
"""The retry conditions that Istio's validation (`supportedRetryOnPolicies`) accepts in retryOn."""

RetryCondition = Annotated[str, Bounds(pattern="^[a-z0-9][a-z0-9-]*$", max_length=64, title="retry condition")]
Attempts = Annotated[int, Bounds(ge=0, le=100)]


@model
class Retries:
    """Retries of each route. A field that is null is not written, because older Istio rejects unknown fields."""

    attempts: Attempts = setting("Maximum number of retries of a request; 0 turns retries off.", default=3)
    per_try_timeout: DurationField = setting(
        "Timeout of each try. A call that takes longer is ended and repeated.", default=parse_duration("2s")
    )
    retry_on: tuple[RetryCondition, ...] = setting(
        'What is tried again: Envoy\'s words, and HTTP status codes in quotes such as "503".',
        default=("gateway-error", "connect-failure", "refused-stream", "5xx"),
        min_length=1,
    )
    backoff: DurationField | None = setting(
        "Minimum time between tries (Istio 1.26 or newer); null keeps Envoy's 25ms.", default=None
    )
    retry_ignore_previous_hosts: bool | None = setting(
        "Whether a retry avoids the addresses of earlier tries (Istio 1.26 or newer).", default=None
    )
    retry_remote_localities: bool | None = setting(
        "Whether a retry may go to endpoints of other localities.", default=None
    )


@model
class UnsafeMethods:
    """Retries of POST and PATCH, which are neither safe nor idempotent."""

    retry_on: tuple[RetryCondition, ...] | None = setting(
        "Retry conditions of POST and PATCH, which then get their own route, such as connect-failure, refused-stream "
        "and reset-before-request. An empty list: no retries. null: the same as other methods.",
        default=None,
    )


@model
class AttemptsBounds:
    """Bounds of the annotation attempts, both included."""

    min: Attempts = setting("Minimum of the annotation.", default=0)
    max: Attempts = setting("Maximum of the annotation.", default=10)

    @property
    def reversed(self) -> bool:
        """Whether the bounds are empty."""
        return self.min > self.max


@model
class DurationBounds:
    """Bounds of an annotation that is a duration, both included."""

    min: DurationField = setting("Minimum of the annotation.", default=parse_duration("10ms"))
    max: DurationField = setting("Maximum of the annotation.", default=parse_duration("5m"))

    @property
    def reversed(self) -> bool:
        """Whether the bounds are empty."""
        return self.min > self.max


@model
class TimeoutBounds(DurationBounds):
    """Bounds of the annotation timeout."""

    no_deadline: Permission = setting(
        'Whether the annotation may be "0s", which means no timeout.', default=Permission.FORBID
    )


class Reach(enum.Enum):
    """How far a VirtualService or DestinationRule may be visible."""

    ENTRY = "Entry"
    NAMESPACE = "Namespace"


@model
class Overrides:
    """Overrides: annotations by which teams change settings of their own ServiceEntries, within bounds."""

    attempts: AttemptsBounds | None = setting(
        "Bounds of serviceentry-guard.io/attempts; null forbids the annotation.", default=AttemptsBounds()
    )
    per_try_timeout: DurationBounds | None = setting(
        "Bounds of serviceentry-guard.io/per-try-timeout; null forbids the annotation.", default=DurationBounds()
    )
    timeout: TimeoutBounds | None = setting(
        "Bounds of serviceentry-guard.io/timeout; null forbids the annotation.", default=TimeoutBounds()
    )
    retry_on: tuple[RetryCondition, ...] | None = setting(
        "The conditions that serviceentry-guard.io/retry-on may list; null forbids the annotation.",
        default=RETRY_CONDITIONS,
        min_length=1,
    )
    virtual_service: Permission = setting(
        "Whether serviceentry-guard.io/virtual-service: Disabled has an effect.", default=Permission.ALLOW
    )
    reach: Reach = setting(
        "Namespace: the objects of an entry with an override are visible in its own namespace only. Entry: they are "
        "as visible as those of any other entry; use it only for namespaces of the platform team.",
        default=Reach.NAMESPACE,
    )


@model
class Grpc:
    """GRPC and GRPC-WEB ports, whose calls may be streams. By default no timeout, and retries on gRPC status codes."""

    timeout: TimeoutField | None = setting(
        "Timeout of all tries of a call together; null writes none, like Istio's default.", default=None
    )
    per_try_timeout: DurationField | None = setting(
        "Timeout until the response of a try begins; null writes none.", default=None
    )
    retry_on: tuple[RetryCondition, ...] = setting(
        "Retry conditions in addition to those of retries, also for HTTP2 ports: an answered UNAVAILABLE is HTTP 200, "
        "which 5xx does not match.",
        default=("unavailable", "cancelled"),
    )


@model
class VirtualService:
    """The VirtualService of each host."""

    enabled: bool = setting("Whether VirtualServices are emitted at all.", default=True)
    timeout: TimeoutField = setting(
        "Timeout of all tries of a request together, with the pauses between them; 0s means none.",
        default=parse_duration("30s"),
    )
    retries: Retries = Retries()
    grpc: Grpc = Grpc()
    unsafe_methods: UnsafeMethods = UnsafeMethods()
    overrides: Overrides = Overrides()
    reach: Reach = setting(
        "Visibility of the VirtualService. Entry: in the namespaces that see the entry and have the same settings. "
        "Namespace: in the entry's namespace only. The waypoint that serves the entry sees it in both cases.",
        default=Reach.ENTRY,
    )
    yield_to: tuple[Glob, ...] = setting(
        "Namespaces whose VirtualServices and HTTPRoutes the guard yields to in other namespaces. It always yields to "
        "those of the entry's own namespace.",
        default=("*",),
    )


@model
class HttpPool:
    """Connections of HTTP ports."""

    idle_timeout: DurationField | None = setting(
        "Closes a connection without requests after this time. Keep it below the idle timeout of the load balancer, "
        "often 60s.",
        default=parse_duration("50s"),
    )
    max_requests_per_connection: Annotated[int, Bounds(ge=1, le=2**29)] | None = setting(
        "Maximum number of requests per connection; 1 turns persistent connections off.", default=None
    )


@model
class TcpKeepalive:
    """TCP keepalive probes on idle connections. They keep a connection alive in firewalls, and detect a dead one."""

    time: SecondsField = setting("Idle time before the first probe.", default=parse_duration("60s"))
    interval: SecondsField = setting("Time between probes.", default=parse_duration("15s"))
    probes: Annotated[int, Bounds(ge=1, le=100)] = setting("Unanswered probes that end the connection.", default=3)


@model
class TcpPool:
    """Connections of every port, TLS passthrough included."""

    idle_timeout: DurationField | None = setting("Closes a connection without traffic after this time.", default=None)
    max_connection_duration: DurationField | None = setting(
        "Closes a connection of this age, so that the next one uses the current DNS answer.", default=None
    )
    tcp_keepalive: TcpKeepalive | None = setting(
        "TCP keepalive probes on idle connections; {} uses the defaults.", default=None
    )


@model
class ConnectionPool:
    """Rules by which Envoy closes connections. A field that is null is not written."""

    http: HttpPool = HttpPool()
    tcp: TcpPool = TcpPool()


@model
class DestinationRule:
    """The DestinationRule of each host: the repair for TLS passthrough ports, where retries cannot help."""

    enabled: bool = setting("Whether DestinationRules are emitted at all.", default=False)
    connection_pool: ConnectionPool = ConnectionPool()
    tls_origination: bool = setting(
        "The sidecar originates TLS on HTTP ports with targetPort 443, so that it can retry HTTPS.", default=False
    )
