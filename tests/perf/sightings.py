"""When VirtualServices appear, on a watch of the benchmark's own."""

import threading
import time
from collections.abc import Iterable
from typing import Self

from app.kube.client import Client
from app.kube.resources import EMITTED
from tests.bed.control_plane import ControlPlane

VIRTUAL_SERVICES = EMITTED["VirtualService"]
WATCH_SECONDS = 1800


class Sightings:
    """When each VirtualService's ADDED event came, as time.perf_counter tells it; by name, from entering on."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._client = Client.from_kubeconfig(str(control_plane.kubeconfig), connections=1)
        self._seen: dict[str, float] = {}
        self._missing: set[str] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="sightings", daemon=True)

    def __enter__(self) -> Self:
        version = self._client.list_page(VIRTUAL_SERVICES, limit=1).resource_version
        self._stream = self._client.watch(VIRTUAL_SERVICES, version, timeout_seconds=WATCH_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.close()
        self._thread.join()
        self._client.close()

    def last_of(self, names: Iterable[str], seconds: float) -> float:
        """When the last of these came, after waiting for it; TimeoutError after `seconds`."""
        wanted = set(names)
        with self._changed:
            self._missing = wanted - self._seen.keys()
            if not self._changed.wait_for(lambda: not self._missing, seconds):
                raise TimeoutError(f"{len(self._missing)} of {len(wanted)} VirtualServices are missing")
            return max(self._seen[name] for name in wanted)

    def _follow(self) -> None:
        for event in self._stream:
            if event.type == "ADDED":
                self._saw(event.object["metadata"]["name"], time.perf_counter())

    def _saw(self, name: str, when: float) -> None:
        with self._changed:
            self._seen[name] = when
            self._missing.discard(name)
            if not self._missing:
                self._changed.notify()
