"""Flags of both servers, and the settings made from them."""

from typing import TYPE_CHECKING

from app.cli.flags import Decorator, choice, flag
from app.cli.terminal import fail
from app.core.resources.durations import parse_duration
from app.telemetry.logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from app.telemetry.tracing import Tracer


def health_port() -> Decorator:
    """Declare the port of the health server."""
    return flag("--health-port", "Plain HTTP port of /healthz, /readyz, /startupz and /metrics.", default=8081)


def log_format() -> Decorator:
    """Declare the form of the log."""
    text = "How lines of the log are written; auto: text on a terminal."
    return choice("--log-format", text, LogFormat, LogFormat.AUTO)


def log_level() -> Decorator:
    """Declare the level of the log."""
    text = "Minimum log level. Change it at run time with PUT /loglevel or SIGUSR1."
    return choice("--log-level", text, LogLevel, LogLevel.INFO)


def otlp_endpoint() -> Decorator:
    """Declare where traces go."""
    return flag("--otlp-endpoint", "Where traces are sent by OTLP over HTTP, such as http://host:4318.")


def seconds(name: str, text: str) -> float:
    """Read the duration of a flag, or end with an example of a valid one."""
    try:
        return parse_duration(text).milliseconds / 1000
    except ValueError as error:
        fail(f'{name} is "{text}": it {error}')


def make_tracer(endpoint: str | None, service: str) -> "Tracer":
    """Return the tracer, or end with the name of the missing package; without an endpoint nothing is imported."""
    from app.telemetry.tracing import UNTRACED

    if endpoint is None:
        return UNTRACED
    if not endpoint.startswith(("http://", "https://")):
        fail(f"--otlp-endpoint: {endpoint} is not a URL: write one such as http://collector:4318")
    try:
        from app.telemetry.otel import OtelTracer
    except ImportError:
        fail("--otlp-endpoint needs OpenTelemetry: install serviceentry-guard[tracing]")
    return OtelTracer(endpoint, service)
