"""A receiver of traces (OTLP over HTTP, protobuf), for tests of what is sent."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Received:
    """A span; IDs in hexadecimal, `parent` empty where it begins a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    failed: bool
    attributes: dict[str, Any]


class Collector(ThreadingHTTPServer):
    """Keeps what it receives in `spans`; its URL is `endpoint`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.spans: list[Received] = []
        self.paths: set[str] = set()

    def named(self, name: str) -> list[Received]:
        """The spans of this name."""
        return [span for span in list(self.spans) if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run one."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.paths.add(self.path)
        self.server.spans += _decoded(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


def _decoded(request: Any) -> Iterator[Received]:
    for group in request.resource_spans:
        service = {one.key: _value(one.value) for one in group.resource.attributes}["service.name"]
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Received(
                    service=service,
                    name=span.name,
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    failed=span.status.code == 2,
                    attributes={one.key: _value(one.value) for one in span.attributes},
                )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    return getattr(value, kind)
