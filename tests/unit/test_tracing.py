"""Tracing: not even imported while it is off, and never in the way while it is on."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.cli.serverflags import make_tracer
from app.telemetry.otel import OtelTracer
from app.telemetry.tracing import UNTRACED
from tests.bed.collector import Collector, collecting
from tests.bed.ports import free_port
from tests.bed.processes import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01".encode()

OFF = """
import importlib, sys
import app.cli
importlib.import_module(sys.argv[1])
from app.cli.serverflags import make_tracer
from app.telemetry.tracing import UNTRACED
assert make_tracer(None, "any") is UNTRACED
print(*(name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))))
"""


def imported(module: str) -> list[str]:
    """What of OpenTelemetry is in a process that runs this module with tracing off."""
    done = subprocess.run([sys.executable, "-c", OFF, module], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_controller_imports_nothing_of_opentelemetry_while_tracing_is_off() -> None:
    assert imported("app.controller.process") == []


def test_the_webhook_imports_nothing_that_traces_while_tracing_is_off() -> None:
    """FastAPI imports OpenTelemetry's API, and nothing keeps it from that; what makes and sends spans is not there."""
    working = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf")
    assert [name for name in imported("app.webhook.server") if name.startswith(working)] == []


def test_nothing_is_made_of_a_span_while_tracing_is_off() -> None:
    with UNTRACED.serving("admission mutate", [(b"traceparent", TRACEPARENT)]) as span:
        span.note({"a": "b"})
        span.failed("so it goes")
        assert not span.trace
        assert not UNTRACED.headers()
    with UNTRACED.working("reconcile", {}):
        assert not UNTRACED.headers()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def tracer(collector: Collector) -> Iterator[OtelTracer]:
    tracer = OtelTracer(collector.endpoint, "webhook")
    yield tracer
    tracer.stop()


def test_a_request_is_a_part_of_its_callers_trace(tracer: OtelTracer, collector: Collector) -> None:
    with tracer.serving("admission mutate", [(b"accept", b"*/*"), (b"traceparent", TRACEPARENT)]) as span:
        span.note({"serviceentry_guard.codes": ("SEG003", "SEG020")})
        assert span.trace == TRACE
        assert tracer.headers()["traceparent"].startswith(f"00-{TRACE}-")
    assert not tracer.headers()
    tracer.stop()
    (received,) = collector.spans
    assert (received.trace, received.parent, received.failed) == (TRACE, CALLER, False)
    assert received.attributes == {"serviceentry_guard.codes": ("SEG003", "SEG020")}
    assert (received.service, collector.paths) == ("serviceentry-guard-webhook", {"/v1/traces"})


@pytest.mark.parametrize("given", [b"", b"00-xyz", b"\xff\xfe", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"])
def test_an_invalid_context_begins_a_trace(tracer: OtelTracer, collector: Collector, given: bytes) -> None:
    with tracer.serving("admission mutate", [(b"traceparent", given)]) as span:
        assert len(span.trace) == 32
    tracer.stop()
    assert collector.spans[0].parent == ""


def test_an_unsampled_trace_is_not_exported(tracer: OtelTracer, collector: Collector) -> None:
    with tracer.serving("admission mutate", [(b"traceparent", TRACEPARENT.replace(b"-01", b"-00"))]):
        assert tracer.headers()["traceparent"].endswith("-00")
    tracer.stop()
    assert collector.spans == []


def test_what_is_sent_on_has_no_flag_that_an_api_server_does_not_know(tracer: OtelTracer) -> None:
    with tracer.working("reconcile", {}):
        assert tracer.headers()["traceparent"].endswith("-01")
        assert list(tracer.headers()) == ["traceparent"]
    with tracer.serving("admission mutate", [(b"traceparent", TRACEPARENT), (b"tracestate", b"vendor=1")]):
        assert tracer.headers()["tracestate"] == "vendor=1"


def test_work_that_fails_is_sent_as_failed_and_raises_on(tracer: OtelTracer, collector: Collector) -> None:
    with pytest.raises(LookupError), tracer.working("reconcile", {"k8s.namespace.name": "team"}):
        raise LookupError
    with tracer.serving("admission mutate", []) as span:
        span.failed("the body is over 7 bytes")
    tracer.stop()
    assert [span.failed for span in collector.spans] == [True, True]
    assert collector.named("reconcile")[0].attributes["k8s.namespace.name"] == "team"


def test_an_unreachable_collector_delays_no_request() -> None:
    tracer = OtelTracer(f"http://127.0.0.1:{free_port()}/v1/traces", "controller")
    began = time.monotonic()
    for _ in range(100):
        with tracer.working("reconcile", {}):
            pass
    assert time.monotonic() - began < 20
    tracer.stop()
    assert time.monotonic() - began < 20


def test_spans_are_sent_while_the_process_runs(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    prompt = make_tracer(collector.endpoint, "controller")
    with prompt.working("reconcile", {}):
        pass
    wait_until(lambda: bool(collector.named("reconcile")), "it is sent")
    prompt.stop()


def test_an_endpoint_that_is_not_a_url_is_reported_in_one_sentence() -> None:
    told = CliRunner().invoke(cli, ["controller", "--otlp-endpoint=collector:4317"])
    assert told.exit_code == 2
    said = "serviceentry-guard: --otlp-endpoint: collector:4317 is not a URL: write one such as http://collector:4318\n"
    assert told.stderr == said
