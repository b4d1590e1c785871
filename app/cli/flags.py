"""Flags that several commands share; every flag is an environment variable too."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.terminal import fail
from app.core.durations import parse_duration
from app.core.policy import GuardPolicy
from app.core.problems import PolicyError
from app.logs import LogFormat, LogLevel
from app.policyfile import load_policy
from app.tracing import UNTRACED, Tracer


def flag(name: str, text: str, **more: Any) -> Any:  # noqa: ANN401 - what Typer's own function takes and gives
    """Declare a flag that is an environment variable too."""
    variable = "SERVICEENTRY_GUARD_" + name.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, envvar=variable, help=text, **more)


PolicyFlag = Annotated[
    Path | None, flag("--policy", "GuardPolicy file; without it the built-in recipe is enforced.", show_default=False)
]
HealthPort = Annotated[int, flag("--health-port", "Plain HTTP port of /healthz, /readyz and /metrics.")]
OtlpEndpoint = Annotated[
    str | None,
    flag("--otlp-endpoint", "Where traces are sent by OTLP over HTTP, such as http://host:4318.", show_default=False),
]
LogFormatFlag = Annotated[
    LogFormat, flag("--log-format", "How lines of the log are written; auto: text on a terminal.")
]
LogLevelFlag = Annotated[LogLevel, flag("--log-level", "From which level on; PUT /loglevel and SIGUSR1 change it.")]


def seconds(name: str, text: str) -> float:
    """Read the duration of a flag, or end with what it should look like."""
    try:
        return parse_duration(text).milliseconds / 1000
    except ValueError as error:
        fail(f'{name} is "{text}": it {error}')


def make_tracer(endpoint: str | None, service: str) -> Tracer:
    """Make what traces, or end with what is missing; without an endpoint nothing of it is imported."""
    if endpoint is None:
        return UNTRACED
    if not endpoint.startswith(("http://", "https://")):
        fail(f"--otlp-endpoint: {endpoint} is no URL: write one such as http://collector:4318")
    try:
        from app.otel import OtelTracer
    except ImportError:
        fail("--otlp-endpoint needs OpenTelemetry: install serviceentry-guard[tracing]")
    return OtelTracer(endpoint, service)


def read_policy(path: Path | None) -> GuardPolicy:
    """Load the policy, or end with a line for each problem."""
    try:
        return load_policy(path)
    except PolicyError as error:
        fail(*error.problems)
