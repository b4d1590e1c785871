"""The versions of Kubernetes and Istio that the product is tried on: the oldest supported, the bed's own, the newest.

Each has its pins in a `go.mod`. Its programs are linked into a folder that $KUBEBUILDER_ASSETS can name, so that any
test can run on them.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.bed.binaries import provide
from tests.bed.build import build, cached
from tests.bed.progress import Progress
from tests.bed.tools import HERE, ISTIO_API, KUBERNETES, ModuleFile, Tool, istio_crds, kubernetes_tool, required

WANTED_VERSION = "WANTED_KUBERNETES_VERSION"
"""Set by a run on one generation; a test compares it with what the API server says."""


@dataclass(frozen=True, slots=True)
class Generation:
    """An API server, its kubectl, and the definitions of Istio's resources; folders that have their `go.mod`."""

    name: str
    kubernetes: Path
    istio: Path

    @property
    def kubernetes_version(self) -> str:
        """Such as "1.36.3"."""
        return required(self.kubernetes, KUBERNETES).removeprefix("v")

    @property
    def istio_version(self) -> str:
        """Such as "1.31.4"."""
        return required(self.istio, ISTIO_API).removeprefix("v")

    def items(self) -> tuple[Tool | ModuleFile, ...]:
        """What is built for it."""
        module = self.kubernetes
        programs = kubernetes_tool("kube-apiserver", module, 7), kubernetes_tool("kubectl", module, 1)
        return *programs, istio_crds(self.istio)

    def assets(self, folder: Path, out: TextIO = sys.stderr) -> None:
        """Build what is missing, and link all of it into a folder. Raises BedError."""
        build(self.items(), Progress(out))
        for item in self.items():
            (folder / item.name).symlink_to(cached(item))
        (folder / "etcd").symlink_to(provide(out).etcd)


OLDEST = Generation("oldest", HERE / "oldest" / "kubernetes", HERE / "oldest" / "istio")
CURRENT = Generation("current", HERE, HERE / "istio")
NEWEST = Generation("newest", HERE / "newest" / "kubernetes", HERE / "newest" / "istio")
GENERATIONS = (OLDEST, CURRENT, NEWEST)


def minor(version: str) -> str:
    """The part of a version that users name: "1.36" of "1.36.3"."""
    return ".".join(version.split(".")[:2])
