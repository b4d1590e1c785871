"""The product's image as an archive that nodes load: what `make image-test` builds, kept until its sources change."""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.bed.build import cache_root
from tests.image.base import base_archive
from tests.image.build import ROOT, build_arguments, built

NAME = "serviceentry-guard"
SOURCES = (
    "Dockerfile",
    "LICENSE",
    "README.md",
    "app/**/*.py",
    "app/**/py.typed",
    "pyproject.toml",
    "requirements/*.txt",
)
KEPT = 3


def tag() -> str:
    """The version of the project, which the chart takes for the image's tag."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def image_archive() -> Path:
    """The image as an OCI archive, built if its sources have changed. Raises BedError."""
    archive = kept(f"image-{_digest()}.tar", ROOT, build_arguments())
    _forget_older(archive.parent)
    return archive


def kept(name: str, source: Path, arguments: Mapping[str, str]) -> Path:
    """The archive of this name, built from `source` if it does not exist yet. Raises BedError."""
    folder = cache_root().parent / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / name
    if not archive.exists():
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with built(unfinished, source, arguments):
            unfinished.rename(archive)
    return archive


def _digest() -> str:
    files = sorted({file for pattern in SOURCES for file in ROOT.glob(pattern)})
    digest = hashlib.sha256(base_archive().name.encode())
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _forget_older(folder: Path) -> None:
    archives = sorted(folder.glob("image-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for archive in archives[KEPT:]:
        archive.unlink(missing_ok=True)
