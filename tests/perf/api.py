"""The API server as an application team's client sees it: light, so that little of a figure is the client's own."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import Self
from urllib.parse import urlsplit

from tests.bed.control_plane import ControlPlane
from tests.perf.objects import Object

ISTIO = "/apis/networking.istio.io/v1"
GROUP = 'group="networking.istio.io"'
CLIENTS = 8
CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Span:
    """When something began and ended, as time.perf_counter tells it."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


class Api:
    """One connection that is kept alive, for one thread."""

    def __init__(self, control_plane: ControlPlane) -> None:
        address = urlsplit(control_plane.url)
        self._connection = HTTPSConnection(
            address.hostname or "", address.port, timeout=CALL_SECONDS, context=control_plane.tls()
        )

    def __enter__(self) -> Self:
        self._connection.connect()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def send(self, method: str, path: str, body: Object | None = None, media_type: str = "application/json") -> bytes:
        """The body of the answer. Raises RuntimeError with what the API server says where it refuses."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"Content-Type": media_type})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer.decode()}")
        return answer

    def call(self, method: str, path: str, body: Object | None = None) -> Object:
        """The decoded answer."""
        answer: Object = json.loads(self.send(method, path, body))
        return answer

    def create_entry(self, entry: Object, namespace: str, query: str = "") -> Object:
        """Create a ServiceEntry; gives it as it is stored."""
        return self.call("POST", f"{ISTIO}/namespaces/{namespace}/serviceentries{query}", entry)

    def entries(self, namespace: str) -> list[Object]:
        """The ServiceEntries of a namespace, as they are stored."""
        items: list[Object] = self.call("GET", f"{ISTIO}/namespaces/{namespace}/serviceentries")["items"]
        return items

    def apply(self, virtual_service: Object) -> None:
        """Write a VirtualService as the controller does: server-side apply, nothing forced."""
        metadata = virtual_service["metadata"]
        path = f"{ISTIO}/namespaces/{metadata['namespace']}/virtualservices/{metadata['name']}"
        query = "fieldManager=serviceentry-guard&force=false"
        self.send("PATCH", f"{path}?{query}", virtual_service, "application/apply-patch+yaml")

    def create_namespace(self, name: str, **labels: str) -> None:
        """Create a namespace with these labels."""
        metadata = {"name": name, "labels": labels}
        self.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def empty_namespace(self, namespace: str) -> None:
        """Delete what a benchmark left there."""
        for plural in ("serviceentries", "virtualservices"):
            self.call("DELETE", f"{ISTIO}/namespaces/{namespace}/{plural}")

    def requests(self) -> int:
        """How many requests for Istio's resources the API server has answered; a watch counts once it ends."""
        return round(sum(value for labels, value in self._metric("apiserver_request_total") if GROUP in labels))

    def reviews(self) -> int:
        """How many reviews the API server has sent to webhooks."""
        return round(sum(value for _, value in self._metric("apiserver_admission_webhook_request_total")))

    def cpu_seconds(self) -> float:
        """CPU time that the API server has spent."""
        return sum(value for _, value in self._metric("process_cpu_seconds_total"))

    def _metric(self, name: str) -> Iterator[tuple[str, float]]:
        for line in self.send("GET", "/metrics").decode().splitlines():
            series, _, value = line.rpartition(" ")
            found, _, labels = series.partition("{")
            if found == name:
                yield labels, float(value)


def at_once(control_plane: ControlPlane, write: Callable[[Api, Object], object], objects: Sequence[Object]) -> Span:
    """Write objects from 8 clients at once, which are connected before the time counts."""
    connected = threading.Barrier(CLIENTS + 1)

    def work(part: Sequence[Object]) -> None:
        with Api(control_plane) as api:
            connected.wait(CALL_SECONDS)
            for one in part:
                write(api, one)

    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(work, objects[number::CLIENTS]) for number in range(CLIENTS)]
        connected.wait(CALL_SECONDS)
        began = time.perf_counter()
        for one in working:
            one.result()
        return Span(began, time.perf_counter())
