"""The VirtualServices of the load's namespaces, as a watch tells of them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPSConnection
from itertools import pairwise
from urllib.parse import urlsplit

from tests.bed.control_plane import ControlPlane
from tests.cluster.load import NAMESPACES

PATH = "/apis/networking.istio.io/v1/virtualservices?watch=true"
SECONDS = 20.0
"""A watch that is silent for so long is begun anew."""


class Routes:
    """Names of the VirtualServices, with the moment in which each was seen first."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._seen = dict[str, float]()
        self._end = threading.Event()

    @property
    def names(self) -> set[str]:
        """Of all that there have been so far."""
        return set(self._seen)

    def pause(self, since: float) -> float:
        """The longest time from a moment on in which none was new."""
        moments = [since, *sorted(moment for moment in list(self._seen.values()) if moment > since)]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)

    @contextmanager
    def running(self) -> Iterator["Routes"]:
        """Watch until the block ends."""
        thread = threading.Thread(target=self._run, name="routes", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            address = urlsplit(self._plane.url).netloc
            connection = HTTPSConnection(address, timeout=SECONDS, context=self._plane.tls())
            with suppress(OSError, HTTPException):
                self._follow(connection)
            connection.close()

    def _follow(self, connection: HTTPSConnection) -> None:
        connection.request("GET", PATH)
        for line in connection.getresponse():
            metadata = json.loads(line)["object"]["metadata"]
            if metadata.get("namespace") in NAMESPACES:
                self._seen.setdefault(metadata["name"], time.monotonic())
            if self._end.is_set():
                return
