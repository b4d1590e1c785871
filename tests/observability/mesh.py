"""An exporter with Istio's metric names and labels; its history has timestamps: known traffic in.

Each scrape gets all of the history, so nothing depends on when Prometheus scrapes: it ignores what it has seen already.
A counter that begins with 0 has no calls from before its first sample, so that PromQL's `increase` is exact.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.bed.guard import HOST

SPAN = 45 * 60
"""Seconds of history: Prometheus refuses what is older than an hour before the newest sample."""
BOUNDS = (
    "0.5",
    "1",
    "5",
    "10",
    "25",
    "50",
    "100",
    "250",
    "500",
    "1000",
    "2500",
    "5000",
    "10000",
    "30000",
    "60000",
    "+Inf",
)
"""Bounds in milliseconds of Envoy's histograms, as far as they matter here."""


class Mesh:
    """The traffic of a mesh; `until` is the moment of its last sample, in whole seconds since the epoch."""

    def __init__(self) -> None:
        self.until = int(time.time()) - 60
        self._samples: list[str] = []

    def calls(self, host: str, namespace: str, number: float, code: str = "200", flags: str = "-") -> None:
        """Count calls, which began with none."""
        self.counter("istio_requests_total", self._labels(host, namespace, code, flags), [0, number])

    def counter(self, name: str, labels: Mapping[str, str], values: list[float]) -> None:
        """Tell the values of a counter, at even distances up to the last moment."""
        shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
        step = SPAN // (len(values) - 1)
        for place, value in enumerate(values):
            at = self.until - step * (len(values) - 1 - place)
            self._samples.append(f"{name}{{{shown}}} {value} {at * 1000}")

    def durations(self, host: str, namespace: str, within: Mapping[str, float], bounds: Sequence[str] = BOUNDS) -> None:
        """Count how many calls took no longer than some bounds; between them a bound has what the one below it has."""
        most = 0.0
        for bound in bounds:
            most = within.get(bound, most)
            labels = {**self._labels(host, namespace, "200", "-"), "le": bound}
            self.counter("istio_request_duration_milliseconds_bucket", labels, [0, most])

    def connections(self, host: str, namespace: str, number: float, service: str = "") -> None:
        """Count TCP connections."""
        labels = {"reporter": "source", "destination_service": host, "source_workload_namespace": namespace}
        labels["destination_service_name"] = service or host
        self.counter("istio_tcp_connections_opened_total", labels, [0, number])

    def elsewhere(self, host: str, namespace: str, number: float, cluster: str) -> None:
        """Count calls to a host that the mesh does not know."""
        labels = {**self._labels(host, namespace, "200", "-"), "destination_service_name": cluster}
        self.counter("istio_requests_total", labels, [0, number])

    def exposition(self) -> bytes:
        """Write all of it as Prometheus reads it."""
        return ("\n".join(self._samples) + "\n").encode()

    @staticmethod
    def _labels(host: str, namespace: str, code: str, flags: str) -> dict[str, str]:
        return {
            "reporter": "source",
            "destination_service": host,
            "destination_service_name": host,
            "source_workload_namespace": namespace,
            "response_code": code,
            "response_flags": flags,
            "request_protocol": "http",
        }


@contextmanager
def exported(mesh: Mesh) -> Iterator[int]:
    """Serve the metrics of a mesh; gives the port."""
    body = mesh.exposition()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
