"""Creates ServiceEntries at a steady rate, and keeps what became of each."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from queue import Empty, Queue
from typing import Any
from urllib.parse import urlsplit

from tests.bed.control_plane import ControlPlane

NAMESPACES = tuple(f"load-{number}" for number in range(10))
"""The default policy writes up to 2,000 objects into a namespace: the load needs several."""
THREADS = 12
"""More than a rate of 20 needs if none takes longer than half a second."""


@dataclass(frozen=True, slots=True)
class Created:
    """One create: when it was sent, what it took in seconds, and what came of it."""

    name: str
    sent: float
    seconds: float
    status: int
    resolution: str
    message: str


@dataclass
class Load:
    """Runs for as long as `running` lasts, as administrator; `done` has what became of each create so far."""

    plane: ControlPlane
    rate: float = 20.0
    done: list[Created] = field(default_factory=list)
    _queue: "Queue[tuple[str, float]]" = field(default_factory=Queue)
    _end: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Create at the rate until the block ends, and wait for the answers."""
        threads = [threading.Thread(target=self._send, name=f"load-{number}") for number in range(THREADS)]
        pacer = threading.Thread(target=self._pace, name="load")
        for each in (pacer, *threads):
            each.start()
        try:
            yield self
        finally:
            self._end.set()
            for each in (pacer, *threads):
                each.join()

    def stop(self) -> None:
        """Create no more."""
        self._end.set()

    def since(self, moment: float) -> list[Created]:
        """What was sent from a moment on."""
        return [one for one in list(self.done) if one.sent >= moment]

    def _pace(self) -> None:
        began = time.monotonic()
        number = 0
        while not self._end.is_set():
            due = began + number / self.rate
            self._end.wait(max(0.0, due - time.monotonic()))
            self._queue.put((f"entry-{number}", due))
            number += 1

    def _send(self) -> None:
        connection = HTTPSConnection(urlsplit(self.plane.url).netloc, timeout=40, context=self.plane.tls())
        while not (self._end.is_set() and self._queue.empty()):
            try:
                name, due = self._queue.get(timeout=0.2)
            except Empty:
                continue
            self.done.append(_create(connection, name, due))
        connection.close()


def _create(connection: HTTPSConnection, name: str, due: float) -> Created:
    sent = time.monotonic()
    try:
        namespace = NAMESPACES[int(name.rpartition("-")[2]) % len(NAMESPACES)]
        path = f"/apis/networking.istio.io/v1/namespaces/{namespace}/serviceentries"
        connection.request("POST", path, json.dumps(entry(name, namespace)), {"Content-Type": "application/json"})
        response = connection.getresponse()
        status, document = response.status, json.loads(response.read())
    except (OSError, HTTPException) as error:
        connection.close()
        status, document = 0, {"message": str(error)}
    message = str(document.get("message", "")) if status != 201 else ""
    resolution = document.get("spec", {}).get("resolution", "")
    return Created(name, due, time.monotonic() - sent, status, resolution, message)


def host(name: str) -> str:
    """The host of an entry, and so the name of its VirtualService."""
    return f"{name}.example.com"


def entry(name: str, namespace: str) -> dict[str, Any]:
    """An entry that has to be changed."""
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [host(name)], "location": "MESH_EXTERNAL", "ports": ports, "resolution": "NONE"},
    }
