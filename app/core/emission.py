"""The part of the policy that says what is emitted for each host: its VirtualService and its DestinationRule."""

from http import HTTPStatus
from typing import Annotated

from pydantic import Field

from app.core.durations import DurationField, SecondsField, parse_duration
from app.core.model import Model, Permission

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

RetryCondition = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$", max_length=64, title="retry condition")]
Attempts = Annotated[int, Field(ge=0, le=100)]


class Retries(Model):
    """Retries of each route. What is null is not written: older Istio rejects fields that it does not know."""

    attempts: Attempts = Field(3, description="How often a request is tried again; 0 turns retries off.")
    per_try_timeout: DurationField = Field(
        parse_duration("2s"), description="Ends each try; a call that takes longer is ended and repeated."
    )
    retry_on: tuple[RetryCondition, ...] = Field(
        ("gateway-error", "connect-failure", "refused-stream", "5xx"),
        min_length=1,
        description='What is tried again: Envoy\'s words, and HTTP status codes in quotes such as "503".',
    )
    backoff: DurationField | None = Field(
        None, description="Least time between tries (Istio 1.26 or newer); null leaves Envoy's 25ms."
    )
    retry_ignore_previous_hosts: bool | None = Field(
        None, description="Whether a retry picks another address than the tries before it (Istio 1.26 or newer)."
    )
    retry_remote_localities: bool | None = Field(
        None, description="Whether a retry may go to endpoints of other localities."
    )


class UnsafeMethods(Model):
    """Retries of POST and PATCH, which repeat what is neither safe nor idempotent."""

    retry_on: tuple[RetryCondition, ...] | None = Field(
        None,
        description=(
            "Gives POST and PATCH a route of their own with these conditions, such as connect-failure, refused-stream "
            "and reset-before-request; an empty list never retries them, null treats them as all others."
        ),
    )


class AttemptsBounds(Model):
    """Bounds of the annotation attempts, both included."""

    min: Attempts = Field(0, description="The fewest attempts a team may ask for.")
    max: Attempts = Field(10, description="The most attempts a team may ask for.")

    @property
    def reversed(self) -> bool:
        """Whether nothing is within them."""
        return self.min > self.max


class DurationBounds(Model):
    """Bounds of an annotation that is a duration, both included."""

    min: DurationField = Field(parse_duration("10ms"), description="The shortest duration a team may ask for.")
    max: DurationField = Field(parse_duration("5m"), description="The longest duration a team may ask for.")

    @property
    def reversed(self) -> bool:
        """Whether nothing is within them."""
        return self.min > self.max


class Overrides(Model):
    """What teams may change on their own ServiceEntries, by annotation; what is out of bounds is refused."""

    attempts: AttemptsBounds | None = Field(
        AttemptsBounds.model_construct(),
        description="Bounds of serviceentry-guard.io/attempts; null forbids the annotation.",
    )
    per_try_timeout: DurationBounds | None = Field(
        DurationBounds.model_construct(),
        description="Bounds of serviceentry-guard.io/per-try-timeout; null forbids the annotation.",
    )
    timeout: DurationBounds | None = Field(
        DurationBounds.model_construct(),
        description="Bounds of serviceentry-guard.io/timeout; null forbids the annotation.",
    )
    retry_on: tuple[RetryCondition, ...] | None = Field(
        RETRY_CONDITIONS,
        min_length=1,
        description="What serviceentry-guard.io/retry-on may list; null forbids the annotation.",
    )
    virtual_service: Permission = Field(
        Permission.ALLOW, description="Whether serviceentry-guard.io/virtual-service: Disabled is honoured."
    )


class VirtualService(Model):
    """The VirtualService of each host."""

    enabled: bool = Field(default=True, description="Whether VirtualServices are emitted at all.")
    timeout: DurationField = Field(
        parse_duration("30s"), description="Bounds all tries of a request together, and the pauses between them."
    )
    retries: Retries = Retries.model_construct()
    unsafe_methods: UnsafeMethods = UnsafeMethods.model_construct()
    overrides: Overrides = Overrides.model_construct()


class HttpPool(Model):
    """Connections of HTTP ports."""

    idle_timeout: DurationField | None = Field(
        parse_duration("50s"),
        description="Closes a connection that carries no request; keep it below the load balancer's, often 60s.",
    )
    max_requests_per_connection: Annotated[int, Field(ge=1, le=2**29)] | None = Field(
        None, description="1 gives up persistent connections."
    )


class TcpKeepalive(Model):
    """Probes on idle connections, by which both ends, and firewalls between them, keep or give up a connection."""

    time: SecondsField = Field(parse_duration("60s"), description="Idle time before the first probe.")
    interval: SecondsField = Field(parse_duration("15s"), description="Time between probes.")
    probes: Annotated[int, Field(ge=1, le=100)] = Field(3, description="Unanswered probes that end the connection.")


class TcpPool(Model):
    """Connections of every port, TLS passthrough included."""

    idle_timeout: DurationField | None = Field(None, description="Closes a connection that carries no bytes.")
    max_connection_duration: DurationField | None = Field(
        None, description="Closes a connection of this age, so that a new one goes where DNS points now."
    )
    tcp_keepalive: TcpKeepalive | None = Field(None, description="Probes on idle connections; {} sends the default.")


class ConnectionPool(Model):
    """When Envoy gives up connections; what is null is not written."""

    http: HttpPool = HttpPool.model_construct()
    tcp: TcpPool = TcpPool.model_construct()


class DestinationRule(Model):
    """The DestinationRule of each host: the cure on TLS passthrough ports, where no retry can help."""

    enabled: bool = Field(default=False, description="Whether DestinationRules are emitted at all.")
    connection_pool: ConnectionPool = ConnectionPool.model_construct()
    tls_origination: bool = Field(
        default=False,
        description="Has the sidecar speak TLS on HTTP ports with targetPort 443, so that HTTPS can be retried.",
    )
