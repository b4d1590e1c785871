"""Builds the tools of the test bed once, into a cache outside the repository."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bed.errors import BedError
from tests.bed.progress import Progress
from tests.bed.tools import ISTIO_CRDS, ModuleFile, Tool


def cache_root() -> Path:
    """Where all builds lie; a folder in it for each state of what they are made from."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "serviceentry-guard", "bed")


def cached(item: Tool | ModuleFile) -> Path:
    """Where `item` lies once it is built.

    The installed Go is not part of the key: the `go` directive in go.mod is, and a run with a warm cache needs no Go.
    """
    machine = f"{platform.system()} {platform.machine()}".encode()
    sources = [(item.module / name).read_bytes() for name in ("go.mod", "go.sum")]
    flags = item.ldflags.encode() if isinstance(item, Tool) else b""
    digest = hashlib.sha256(b"\0".join([*sources, machine, flags])).hexdigest()[:16]
    return cache_root() / digest / "bin" / item.name


def build(items: Sequence[Tool | ModuleFile], progress: Progress) -> None:
    """Make those of `items` that are not in the cache. Raises BedError if that is not possible."""
    missing = [item for item in items if not cached(item).exists()]
    if not missing:
        return
    check_go(missing[0])
    with _locked(progress):
        missing = [item for item in missing if not cached(item).exists()]
        _announce([item for item in missing if isinstance(item, Tool)], progress)
        for item in missing:
            _make(item, progress)


def check_go(item: Tool | ModuleFile) -> None:
    """BedError unless a Go toolchain is there that can read the go.mod of `item`."""
    needed = _needed_go(item.module)
    remedy = (
        f"Go {needed} or newer is needed to build the test bed's {item.name}: install it, or set KUBEBUILDER_ASSETS "
        f"to a folder with kube-apiserver, etcd, kubectl and {ISTIO_CRDS.name} (of the Go module {ISTIO_CRDS.path})"
    )
    if not shutil.which("go"):
        raise BedError(remedy)
    probe = _go(item.module, "list", "-m")
    if probe.returncode:
        raise BedError(f"{remedy} (go says: {probe.stderr.strip()})")


def _announce(tools: Sequence[Tool], progress: Progress) -> None:
    if not tools:
        return
    names = " and ".join(tool.name for tool in tools)
    minutes = sum(tool.cpu_minutes for tool in tools)
    cores = os.cpu_count() or 1
    progress.say(
        f"first build of {names}: about {minutes:g} CPU minutes, {max(1, round(minutes / cores))} on your "
        f"{cores} cores; cached afterwards in {cache_root()}"
    )


def _make(item: Tool | ModuleFile, progress: Progress) -> None:
    target = cached(item)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as scratch:
        product = Path(scratch, item.name)
        if isinstance(item, Tool):
            _compile(item, product, progress)
        else:
            shutil.copyfile(_module_folder(item) / item.file, product)
        product.rename(target)


def _compile(tool: Tool, product: Path, progress: Progress) -> None:
    progress.say(f"{tool.name}: fetching what it is made of")
    packages = len(_listed(tool.module, "list", "-deps", tool.package))
    log = product.with_suffix(".log")
    with log.open("wb") as output:
        command = ["go", "build", "-v", "-ldflags", tool.ldflags, "-o", str(product), tool.package]
        process = subprocess.Popen(command, cwd=tool.module, env=_environment(), stderr=output)
    try:
        progress.follow(process, lambda: f"{tool.name}: {_compiled(log)} of at most {packages} packages compiled")
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise BedError(f"go build {tool.package} failed:\n{_tail(log)}")


def _compiled(log: Path) -> int:
    return sum(not line.startswith((b"go: ", b"#")) for line in log.read_bytes().splitlines())


def _tail(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-20:])


def _module_folder(item: ModuleFile) -> Path:
    _listed(item.module, "mod", "download", item.path)
    return Path(_listed(item.module, "list", "-m", "-f", "{{.Dir}}", item.path)[0])


def _listed(module: Path, *arguments: str) -> list[str]:
    """The lines a go command prints. Raises BedError with what it complained of."""
    result = _go(module, *arguments)
    if result.returncode:
        raise BedError(f"go {' '.join(arguments)} failed in {module}:\n{result.stderr.strip()}")
    return result.stdout.splitlines()


def _go(module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["go", *arguments], cwd=module, env=_environment(), capture_output=True, text=True, check=False
    )


def _environment() -> Mapping[str, str]:
    """Ours, without what a user may have set for other work: the same build on every machine, with no C compiler."""
    return {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}


def _needed_go(module: Path) -> str:
    lines = (module / "go.mod").read_text().splitlines()
    version = next(line.removeprefix("go ") for line in lines if line.startswith("go "))
    return version.removesuffix(".0")


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
