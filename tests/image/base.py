"""The base of the image where no registry is: a plain Debian with Python, bootstrapped once into the user's cache."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bed.build import cache_root
from tests.bed.errors import BedError

SUITE = "trixie"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "mount": "mount", "unshare": "util-linux", "tar": "tar"}
"""What is needed here, and the Debian package that has it."""
LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*")


def complaint() -> str | None:
    """Why an image cannot be built on this machine, and what to do about it; None if it can."""
    if platform.system() != "Linux":
        return "the image test runs on Linux only: it mounts and changes users"
    if os.geteuid() != 0:
        return "the image test has to be root, to mount and to change users: run it with sudo, or in a container"
    missing = sorted(
        {package for program, package in PROGRAMS.items() if not shutil.which(program, path=search_path())}
    )
    if missing:
        return f"the image test needs {', '.join(missing)}: apt-get install {' '.join(missing)}"
    return None


def cache() -> Path:
    """Where the base lies, and pip's downloads."""
    return cache_root().parent / "image"


def base_archive() -> Path:
    """The base as a tar archive, made if it is not there yet (a minute). Raises BedError."""
    digest = hashlib.sha256(" ".join([SUITE, *PACKAGES, *LEFT_OUT]).encode()).hexdigest()[:16]
    archive = cache() / f"{SUITE}-{platform.machine()}-{digest}.tar"
    cache().mkdir(parents=True, exist_ok=True)
    with _locked(cache() / "lock"):
        if not archive.exists():
            print(f"image test: bootstrapping Debian {SUITE}, once, into {archive}", file=sys.stderr, flush=True)
            _bootstrap(archive)
    return archive


def _bootstrap(archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".bootstrapping-", dir=archive.parent) as scratch:
        root, product = Path(scratch, "root"), Path(scratch, "base.tar")
        run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root)
        options = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        run("tar", "--create", f"--file={product}", f"--directory={root}", "--one-file-system", *options, ".")
        product.rename(archive)


def run(*command: str | Path, **variables: str) -> str:
    """What the program writes to standard output. Raises BedError with the end of all that it wrote, if it fails."""
    words = [str(word) for word in command]
    env = os.environ | {"PATH": search_path()} | variables
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise BedError(f"{' '.join(words[:2])} ended with code {done.returncode}; the end of what it said:\n{said}")
    return done.stdout


def search_path() -> str:
    """Where programs are looked for: whoever becomes root by su often lacks the folders of root's programs."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two runs that start together bootstrap once: the second waits for the first."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
