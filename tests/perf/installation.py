"""The product as a user installs it, in a virtual environment of its own: what is measured is not what develops it.

The development environment has packages that make each start of Python longer, and finds the product through a hook.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.bed.errors import BedError

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "build" / "bench"
LOCK = "requirements/runtime.txt"
SOURCES = ("pyproject.toml", "LICENSE", "app")
"""What the wheel is made of."""
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}
"""What the image sets, and how the benchmarks run the product therefore."""
MADE = "made-from"
"""A file in the installation that is written last."""


def command() -> tuple[str]:
    """The installed `serviceentry-guard`."""
    return (str(_installed() / "bin" / "serviceentry-guard"),)


def python() -> str:
    """The interpreter that runs it."""
    return str(_installed() / "bin" / "python")


def digest(repository: Path) -> str:
    """Of all that an installation is made from: lock, sources and this Python."""
    found = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode())
    for file in _files(repository):
        content = file.read_bytes()
        found.update(f"\0{file.relative_to(repository)} {len(content)}\0".encode() + content)
    return found.hexdigest()


def _files(repository: Path) -> Sequence[Path]:
    given = [repository / name for name in (LOCK, *SOURCES)]
    below = [file for folder in given for file in folder.rglob("*") if "__pycache__" not in file.parts]
    return sorted(file for file in [*given, *below] if file.is_file())


@cache
def _installed() -> Path:
    """Made anew when what it is made from has changed. Raises BedError with what a step said that failed."""
    made, wanted = FOLDER / MADE, digest(REPOSITORY)
    if not made.exists() or made.read_text() != wanted:
        print(f"test bed: the product is installed into {FOLDER.relative_to(REPOSITORY)}", file=sys.stderr, flush=True)
        _install()
        made.write_text(wanted)
    return FOLDER


def _install() -> None:
    # By venv and not by uv, which leaves a hook of its own for each start.
    _run(sys.executable, "-m", "venv", "--clear", "--without-pip", FOLDER)
    uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet")
    into = (*uv, "--no-deps", "--compile-bytecode", f"--python={FOLDER / 'bin' / 'python'}")
    _run(*into, "--require-hashes", "-r", REPOSITORY / LOCK)
    with tempfile.TemporaryDirectory() as temporary:
        _run(*into, "--no-index", _wheel(Path(temporary)))


def _wheel(folder: Path) -> Path:
    """Built from a copy: setuptools leaves its work beside the sources, and takes up what it finds of an older one."""
    sources, wheels = folder / "sources", folder / "wheels"
    sources.mkdir()
    wheels.mkdir()
    for name in SOURCES:
        given = REPOSITORY / name
        if given.is_dir():
            shutil.copytree(given, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(given, sources / name)
    _run(sys.executable, "-c", BUILD, wheels, folder=sources)
    return next(wheels.glob("*.whl"))


def _run(*words: str | Path, folder: Path = REPOSITORY) -> None:
    done = subprocess.run(words, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
