"""When objects were first seen, which is how the demo knows how long they took."""

import time
from collections.abc import Iterator
from typing import Self

from app.kube.client import Client
from app.kube.resources import EMITTED, SERVICE_ENTRIES, Resource
from app.kube.watch import Reflector
from tests.bed.control_plane import ControlPlane

VIRTUAL_SERVICES = EMITTED["VirtualService"]


class Sightings:
    """When objects were first seen, by watches that were open before they came."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.virtual_services: dict[str, float] = {}
        self._entries: dict[str, float] = {}
        self._client = Client.from_kubeconfig(str(control_plane.kubeconfig))
        self._reflectors = (
            self._watch(SERVICE_ENTRIES, self._entries),
            self._watch(VIRTUAL_SERVICES, self.virtual_services),
        )

    def __enter__(self) -> Self:
        for reflector in self._reflectors:
            reflector.start()
            reflector.wait_synced(10)
        return self

    def __exit__(self, *_exception: object) -> None:
        for reflector in self._reflectors:
            reflector.stop()
        self._client.close()

    def latencies(self) -> Iterator[tuple[str, float]]:
        """Name and milliseconds of each VirtualService."""
        stored = min(self._entries.values())
        for name, seen in sorted(self.virtual_services.items()):
            yield name, max(0.0, seen - stored) * 1000

    def _watch(self, resource: Resource, seen: dict[str, float]) -> Reflector[str]:
        def note(key: tuple[str, str], _old: object, _new: object) -> None:
            seen.setdefault(key[1], time.perf_counter())

        return Reflector(self._client, resource, lambda one: str(one["metadata"]["uid"]), note)
