"""Has kubelets bring changed files to the pods at once: policy, entries that keep their resolution, certificate.

A kubelet takes up what a pod mounts when the pod changes, else once in a minute or more. So the leader annotates the
pods of the installation with the version of what they mount. Nothing is remembered between two passes but the last
version: a new leader annotates the pods that lack it.
"""

import logging
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.controller.leadership import Leadership
from app.controller.worker import LeaderTask
from app.kube.apply import list_all
from app.kube.client import Client
from app.kube.errors import Invalid, NotFound
from app.kube.resources import CONFIG_MAPS, PODS, SECRETS, Resource

log = logging.getLogger(__name__)

ANNOTATION = "serviceentry-guard.io/mounted"
POINTER = "/metadata/annotations/" + ANNOTATION.replace("/", "~1")
LOOK_SECONDS = 1.0
PODS_SECONDS = 5.0
"""Time between two looks at the pods, for those that were started meanwhile."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What the pods with some labels mount, by name; an empty name is nothing."""

    namespace: str
    pods: str
    config_maps: tuple[str, ...] = ()
    secret: str = ""

    def objects(self) -> Sequence[tuple[Resource, str]]:
        """Return the labels and mounts of the pods to check."""
        named = [*((CONFIG_MAPS, name) for name in self.config_maps), (SECRETS, self.secret)]
        return [(resource, name) for resource, name in named if name]


class PodSync:
    """Keeps the annotation. One pass is `check`."""

    def __init__(self, client: Client, mounted: Mounted) -> None:
        self._client = client
        self._mounted = mounted
        self._version = ""
        self._passes = 0

    def check(self) -> float:
        """Annotate the pods that lack the version of what they mount; returns the seconds until the next pass."""
        version = self.version()
        if version != self._version or self._passes * LOOK_SECONDS >= PODS_SECONDS:
            self._annotate(version)
            self._version, self._passes = version, 0
        self._passes += 1
        return LOOK_SECONDS

    def version(self) -> str:
        """Return the version of everything that is mounted, as the annotation has it."""
        found = [self._version_of(resource, name) for resource, name in self._mounted.objects()]
        return f"{zlib.crc32(' '.join(found).encode()):08x}"

    def _version_of(self, resource: Resource, name: str) -> str:
        try:
            return str(self._client.get(resource, self._mounted.namespace, name)["metadata"]["resourceVersion"])
        except NotFound:
            return "none"

    def _annotate(self, version: str) -> None:
        for pod in list_all(self._client, PODS, self._mounted.namespace, label_selector=self._mounted.pods):
            metadata = pod["metadata"]
            annotations = metadata.get("annotations") or {}
            if annotations.get(ANNOTATION) != version and pod.get("status", {}).get("phase") in {"Pending", "Running"}:
                with suppress(NotFound, Invalid):  # it ends, or someone took its annotations away
                    patch = _patch(version, has_annotations=bool(annotations))
                    self._client.json_patch(PODS, self._mounted.namespace, metadata["name"], patch)


def pod_sync_task(mounted: Mounted) -> Callable[[Client, Leadership], LeaderTask]:
    """Return a function that creates the leader's task from a fenced client and the leadership."""

    def make(client: Client, leadership: Leadership) -> LeaderTask:
        return LeaderTask("pod sync", PodSync(client, mounted).check, leadership)

    return make


def _patch(version: str, *, has_annotations: bool) -> list[dict[str, Any]]:
    if has_annotations:
        return [{"op": "add", "path": POINTER, "value": version}]
    return [{"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: version}}]
