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
LOOK_SECONDS, QUIET_LOOK_SECONDS = 1.0, 3.0
"""Time between two looks at what is mounted: first, and after a while without a change.

Each look is one GET for each object, which the API server may also write into its audit log. Most changes come together
with others, such as those of an upgrade, so only the first of them is noticed two seconds later.
"""
QUIET_SECONDS = 60.0
"""How long nothing must have changed for that."""
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
        self._unchanged = self._since_pods = 0.0  # seconds since a change, and since a look at the pods

    def check(self) -> float:
        """Annotate the pods that lack the version of what they mount; returns the seconds until the next pass."""
        version = self.version()
        if changed := version != self._version:
            self._unchanged = 0.0
        if changed or self._since_pods >= PODS_SECONDS:
            self._annotate(version)
            self._version, self._since_pods = version, 0.0
        pause = LOOK_SECONDS if self._unchanged < QUIET_SECONDS else QUIET_LOOK_SECONDS
        self._unchanged += pause
        self._since_pods += pause
        return pause

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
