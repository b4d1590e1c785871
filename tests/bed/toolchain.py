"""The Go toolchain of this machine, run the same way whatever its user has set for other work."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bed.errors import BedError
from tests.bed.progress import Progress


@dataclass(frozen=True, slots=True)
class Log:
    """What a go command printed so far, read again at each question."""

    path: Path

    @property
    def packages(self) -> int:
        """How many packages it listed or compiled."""
        return sum(not line.startswith(("go: ", "#")) for line in self._lines())

    @property
    def downloads(self) -> int:
        """How many modules it fetched."""
        return sum(line.startswith("go: downloading ") for line in self._lines())

    def tail(self) -> str:
        """Its last lines, where go says why it failed."""
        return "\n".join(self._lines()[-20:])

    def _lines(self) -> list[str]:
        return self.path.read_text(errors="replace").splitlines()


def complaint(module: Path) -> str | None:
    """Why no Go here can work on the go.mod in `module`; None if one can."""
    if not shutil.which("go"):
        return "there is no program go on the PATH"
    probe = _run(module, "list", "-m")
    return f"go says: {probe.stderr.strip()}" if probe.returncode else None


def needed_version(module: Path) -> str:
    """The oldest Go that can work on the go.mod in `module`, such as "1.26"."""
    lines = (module / "go.mod").read_text().splitlines()
    return next(line.removeprefix("go ") for line in lines if line.startswith("go ")).removesuffix(".0")


def module_folder(module: Path, path: str) -> Path:
    """Where the sources of the Go module `path` lie, fetched first if need be. Raises BedError."""
    for arguments in (["mod", "download", path], ["list", "-m", "-f", "{{.Dir}}", path]):
        result = _run(module, *arguments)
        if result.returncode:
            raise BedError(f"go {' '.join(arguments)} failed in {module}:\n{result.stderr.strip()}")
    return Path(result.stdout.strip())


def follow(
    module: Path,
    arguments: list[str],
    path: Path,
    progress: Progress,
    state: Callable[[Log], str],
    *,
    cgo: bool = False,
) -> Log:
    """Run a go command that takes long, its output in the file `path`, and show `state` meanwhile.

    Raises BedError with the end of the output if it fails.
    """
    log = Log(path)
    with path.open("wb") as output:
        process = subprocess.Popen(
            ["go", *arguments], cwd=module, env=_environment(cgo=cgo), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        progress.follow(process, lambda: state(log))
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise BedError(f"go {' '.join(arguments)} failed in {module}:\n{log.tail()}")
    return log


def _run(module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["go", *arguments], cwd=module, env=_environment(), capture_output=True, text=True, check=False
    )


def _environment(*, cgo: bool = False) -> Mapping[str, str]:
    # Without cgo a build needs no C compiler, as in Kubernetes' own releases.
    return {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": str(int(cgo))}
