"""Tracing with OpenTelemetry, sent by OTLP over HTTP. Imported only where an endpoint is given."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.core.resources.service_entry import MANAGER
from app.telemetry.tracing import Attributes, Headers

PATH = "/v1/traces"
SEND_SECONDS = 5.0
"""Timeout of one attempt to send, and so of the last one at the end of the process."""

log = logging.getLogger(__name__)


class OtelTracer:
    """Sends spans in batches in its own thread; spans that cannot be sent are dropped.

    Traces of the API server follow its sampling decision. All others are sampled, unless OTEL_TRACES_SAMPLER says
    otherwise, as OpenTelemetry defines it.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        url = endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
        resource = Resource.create({"service.name": f"{MANAGER}-{service}", "service.version": version(MANAGER)})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=url, timeout=SEND_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(MANAGER)
        self._context = TraceContextTextMapPropagator()
        log.info("sending traces to %s", url)

    @contextmanager
    def serving(self, name: str, headers: Headers) -> Iterator["OtelSpan"]:
        """Create the span of a response to a request with these headers, in the caller's trace."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        context = self._context.extract(carrier)
        with self._tracer.start_as_current_span(name, context, SpanKind.SERVER) as span:
            yield OtelSpan(span)

    @contextmanager
    def working(self, name: str, attributes: Attributes) -> Iterator["OtelSpan"]:
        """Create the span of the guard's own work, in a new trace."""
        with self._tracer.start_as_current_span(name, attributes=attributes) as span:
            yield OtelSpan(span)

    def headers(self) -> Mapping[str, str]:
        """Return the headers that carry the context of this thread's or task's span.

        Only the flag `sampled` is sent. OpenTelemetry sets `random` (W3C Trace Context, level 2) as well, and API
        servers up to Kubernetes 1.36 at least take such a header for invalid (go.opentelemetry.io/otel before 1.43).
        """
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        sampled = int(context.trace_flags.sampled)
        ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
        state = {"tracestate": context.trace_state.to_header()} if context.trace_state else {}
        return {"traceparent": f"00-{ids}-0{sampled}", **state}

    def stop(self) -> None:
        """Send the remaining spans, within seconds."""
        self._provider.shutdown()


class OtelSpan:
    """A span of OpenTelemetry's."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace = format_trace_id(span.get_span_context().trace_id)

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def failed(self, reason: str) -> None:
        """Mark the span as failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))
