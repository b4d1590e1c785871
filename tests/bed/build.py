"""Builds the tools of the test bed once, into a cache outside the repository."""

import fcntl
import hashlib
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bed import toolchain
from tests.bed.errors import BedError
from tests.bed.progress import Progress
from tests.bed.tools import ETCD, ISTIO_CRDS, KUBE_APISERVER, ModuleFile, Tool


def cache_root() -> Path:
    """Where all builds lie, in a folder for each state of what they are made from."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "serviceentry-guard", "bed")


def cached(item: Tool | ModuleFile) -> Path:
    """Where `item` lies once it is built.

    The installed Go is not part of the key (the `go` directive in go.mod is): with a warm cache none is needed.
    """
    files = [item.module / "go.mod", item.module / "go.sum", *sorted(item.module.glob("*.go"))]
    sources = [file.read_bytes() for file in files]
    machine = f"{platform.system()} {platform.machine()}".encode()
    flags = " ".join(_flags(item)).encode() if isinstance(item, Tool) else b""
    digest = hashlib.sha256(b"\0".join([*sources, machine, flags])).hexdigest()[:16]
    return cache_root() / digest / "bin" / item.name


def build(items: Sequence[Tool | ModuleFile], progress: Progress) -> None:
    """Make those of `items` that are not in the cache. Raises BedError if that is not possible."""
    missing = _missing(items)
    if not missing:
        return
    _check_go(missing[0])
    with _locked(progress):
        missing = _missing(items)
        _announce([item for item in missing if isinstance(item, Tool)], progress)
        for item in missing:
            _make(item, progress)


def minutes(tools: Sequence[Tool]) -> tuple[float, int]:
    """CPU minutes that a first build of these takes, and minutes on this machine."""
    needed = sum(tool.cpu_minutes for tool in tools)
    # A fifth more than an even share: linking keeps one core busy only.
    return needed, math.ceil(needed / (os.cpu_count() or 1) * 1.2)


def _missing(items: Sequence[Tool | ModuleFile]) -> list[Tool | ModuleFile]:
    return [item for item in items if not cached(item).exists()]


def _check_go(item: Tool | ModuleFile) -> None:
    complaint = toolchain.complaint(item.module)
    if complaint:
        raise BedError(
            f"Go {toolchain.needed_version(item.module)} or newer is needed to build the test bed's {item.name}: "
            f"install it{_instead(item)} ({complaint})"
        )


def _instead(item: Tool | ModuleFile) -> str:
    """What else a user can do, where there is something."""
    if item.module not in {each.module for each in (KUBE_APISERVER, ETCD, ISTIO_CRDS)}:
        return ""
    return (
        f", or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd, kubectl and {ISTIO_CRDS.name} of the "
        f"Go module {ISTIO_CRDS.path}"
    )


def _announce(tools: Sequence[Tool], progress: Progress) -> None:
    if not tools:
        return
    names = " and ".join(tool.name for tool in tools)
    needed, share = minutes(tools)
    progress.say(
        f"first build of {names}: about {needed:g} CPU minutes, {share} minutes on {os.cpu_count() or 1} cores; "
        f"cached afterwards in {cache_root()}"
    )


def _make(item: Tool | ModuleFile, progress: Progress) -> None:
    target = cached(item)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as scratch:
        product = Path(scratch, item.name)
        if isinstance(item, Tool):
            _compile(item, product, progress)
        else:
            shutil.copyfile(toolchain.module_folder(item.module, item.path) / item.file, product)
        product.rename(target)


def _compile(tool: Tool, product: Path, progress: Progress) -> None:
    listed = toolchain.follow(
        tool.module,
        ["list", "-deps", f"-tags={tool.tags}", tool.package],
        product.with_suffix(".list"),
        progress,
        lambda log: f"{tool.name}: {log.downloads} modules fetched",
        cgo=tool.cgo,
    )
    packages = listed.packages
    toolchain.follow(
        tool.module,
        ["build", "-v", f"-ldflags={tool.ldflags}", f"-tags={tool.tags}", f"-o={product}", tool.package],
        product.with_suffix(".log"),
        progress,
        lambda log: f"{tool.name}: {log.packages} of at most {packages} packages compiled",
        cgo=tool.cgo,
    )


def _flags(tool: Tool) -> Iterator[str]:
    """What a build of `tool` depends on beside its sources."""
    yield tool.ldflags
    if tool.tags:
        yield tool.tags


@contextmanager
def _locked(progress: Progress) -> Iterator[None]:
    """Two runs that start together build once: the second waits for the first."""
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another run is building the test bed: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
