"""The part of the policy that says what is emitted for each host: its VirtualService and its DestinationRule."""

import enum
from http import HTTPStatus
from typing import Annotated

from app.core.policy.fields import Bounds, Permission, model, setting
from app.core.resources.durations import DurationField, SecondsField, TimeoutField, parse_duration
from app.core.resources.globs import Glob

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
"""The words that Istio's validation (`supportedRetryOnPolicies`) accepts in retryOn."""
RETRY_STATUS_CODES = frozenset(str(status.value) for status in HTTPStatus)
"""The numbers that it accepts besides: HTTP status codes that have a name."""

RetryCondition = Annotated[str, Bounds(pattern="^[a-z0-9][a-z0-9-]*$", max_length=64, title="retry condition")]
Attempts = Annotated[int, Bounds(ge=0, le=100)]


@model
class Retries:
    """Retries of each route. What is null is not written: older Istio rejects fields that it does not know."""

    attempts: Attempts = setting("How often a request is tried again; 0 turns retries off.", default=3)
    per_try_timeout: DurationField = setting(
        "Ends each try; a call that takes longer is ended and repeated.", default=parse_duration("2s")
    )
    retry_on: tuple[RetryCondition, ...] = setting(
        'What is tried again: Envoy\'s words, and HTTP status codes in quotes such as "503".',
        default=("gateway-error", "connect-failure", "refused-stream", "5xx"),
        min_length=1,
    )
    backoff: DurationField | None = setting(
        "Least time between tries (Istio 1.26 or newer); null leaves Envoy's 25ms.", default=None
    )
    retry_ignore_previous_hosts: bool | None = setting(
        "Whether a retry picks another address than the tries before it (Istio 1.26 or newer).", default=None
    )
    retry_remote_localities: bool | None = setting(
        "Whether a retry may go to endpoints of other localities.", default=None
    )


@model
class UnsafeMethods:
    """Retries of POST and PATCH, which repeat what is neither safe nor idempotent."""

    retry_on: tuple[RetryCondition, ...] | None = setting(
        "Gives POST and PATCH a route of their own with these conditions, such as connect-failure, refused-stream "
        "and reset-before-request; an empty list never retries them, null treats them as all others.",
        default=None,
    )


@model
class AttemptsBounds:
    """Bounds of the annotation attempts, both included."""

    min: Attempts = setting("The fewest attempts a team may ask for.", default=0)
    max: Attempts = setting("The most attempts a team may ask for.", default=10)

    @property
    def reversed(self) -> bool:
        """Whether nothing is within them."""
        return self.min > self.max


@model
class DurationBounds:
    """Bounds of an annotation that is a duration, both included."""

    min: DurationField = setting("The shortest duration a team may ask for.", default=parse_duration("10ms"))
    max: DurationField = setting("The longest duration a team may ask for.", default=parse_duration("5m"))

    @property
    def reversed(self) -> bool:
        """Whether nothing is within them."""
        return self.min > self.max


@model
class TimeoutBounds(DurationBounds):
    """Bounds of the annotation timeout."""

    no_deadline: Permission = setting('Whether a team may ask for "0s", no deadline at all.', default=Permission.FORBID)


class Reach(enum.Enum):
    """How far a VirtualService or DestinationRule may be visible."""

    ENTRY = "Entry"
    NAMESPACE = "Namespace"


@model
class Overrides:
    """What teams may change on their own ServiceEntries, by annotation; what is out of bounds is refused."""

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
        "What serviceentry-guard.io/retry-on may list; null forbids the annotation.",
        default=RETRY_CONDITIONS,
        min_length=1,
    )
    virtual_service: Permission = setting(
        "Whether serviceentry-guard.io/virtual-service: Disabled is honoured.", default=Permission.ALLOW
    )
    reach: Reach = setting(
        "Namespace: what is emitted for an entry with such an annotation is visible in its own namespace only. Entry: "
        "it is visible like that of any other entry, for namespaces of the platform team itself.",
        default=Reach.NAMESPACE,
    )


@model
class Grpc:
    """GRPC and GRPC-WEB ports, whose calls may be streams. Istio gives them no deadline, and retries on statuses."""

    timeout: TimeoutField | None = setting(
        "Bounds all tries of a call together; null writes none, as Istio does.", default=None
    )
    per_try_timeout: DurationField | None = setting(
        "Ends a try whose answer has not begun by then; null writes none.", default=None
    )
    retry_on: tuple[RetryCondition, ...] = setting(
        "Retry conditions beside those of retries, for HTTP2 ports too: an answered UNAVAILABLE is HTTP 200, which 5xx "
        "does not match.",
        default=("unavailable", "cancelled"),
    )


@model
class VirtualService:
    """The VirtualService of each host."""

    enabled: bool = setting("Whether VirtualServices are emitted at all.", default=True)
    timeout: TimeoutField = setting(
        "Bounds all tries of a request together, and the pauses between them; 0s is no deadline.",
        default=parse_duration("30s"),
    )
    retries: Retries = Retries()
    grpc: Grpc = Grpc()
    unsafe_methods: UnsafeMethods = UnsafeMethods()
    overrides: Overrides = Overrides()
    reach: Reach = setting(
        "Entry: visible where the entry is and the policy agrees. Namespace: visible in the entry's namespace only. "
        "The waypoint that serves the entry sees it either way.",
        default=Reach.ENTRY,
    )
    yield_to: tuple[Glob, ...] = setting(
        "Namespaces whose VirtualServices and HTTPRoutes the guard yields to in other namespaces; those of the entry's "
        "own namespace always count.",
        default=("*",),
    )


@model
class HttpPool:
    """Connections of HTTP ports."""

    idle_timeout: DurationField | None = setting(
        "Closes a connection that carries no request; keep it below the load balancer's, often 60s.",
        default=parse_duration("50s"),
    )
    max_requests_per_connection: Annotated[int, Bounds(ge=1, le=2**29)] | None = setting(
        "1 gives up persistent connections.", default=None
    )


@model
class TcpKeepalive:
    """Probes on idle connections, by which both ends, and firewalls between them, keep or give up a connection."""

    time: SecondsField = setting("Idle time before the first probe.", default=parse_duration("60s"))
    interval: SecondsField = setting("Time between probes.", default=parse_duration("15s"))
    probes: Annotated[int, Bounds(ge=1, le=100)] = setting("Unanswered probes that end the connection.", default=3)


@model
class TcpPool:
    """Connections of every port, TLS passthrough included."""

    idle_timeout: DurationField | None = setting("Closes a connection that carries no bytes.", default=None)
    max_connection_duration: DurationField | None = setting(
        "Closes a connection of this age, so that a new one goes where DNS points now.", default=None
    )
    tcp_keepalive: TcpKeepalive | None = setting("Probes on idle connections; {} sends the default.", default=None)


@model
class ConnectionPool:
    """When Envoy gives up connections; what is null is not written."""

    http: HttpPool = HttpPool()
    tcp: TcpPool = TcpPool()


@model
class DestinationRule:
    """The DestinationRule of each host: the cure on TLS passthrough ports, where no retry can help."""

    enabled: bool = setting("Whether DestinationRules are emitted at all.", default=False)
    connection_pool: ConnectionPool = ConnectionPool()
    tls_origination: bool = setting(
        "Has the sidecar speak TLS on HTTP ports with targetPort 443, so that HTTPS can be retried.", default=False
    )
