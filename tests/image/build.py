"""Builds the Dockerfile with buildah, which needs no daemon, in a store that goes when the test ends."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.base import base_archive, cache, run

ROOT = Path(__file__).parents[2]
BASE = "localhost/base"
IMAGE = "localhost/serviceentry-guard"
PREFIX = ".building-"
DAY_SECONDS = 86_400
PIP_SETTINGS = {"cert", "extra-index-url", "index-url", "proxy", "trusted-host"}
"""Those of the user's pip that the pip in the build must know too: where packages are, and how to get there."""


@dataclass(frozen=True, slots=True)
class Image:
    """What was built. `root` is the file system of a container made of it, `config` the image's own."""

    root: Path
    base: Path
    config: Mapping[str, Any]
    arguments: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the image gives its processes."""
        return dict(variable.split("=", 1) for variable in self.config["Env"])


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah with storage of its own in `folder`."""

    folder: Path

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command of buildah; what it printed, stripped. Raises BedError."""
        options = [f"--root={self.folder / 'root'}", f"--runroot={self.folder / 'run'}", "--storage-driver=vfs"]
        # The builds' cache mounts, where pip's downloads are kept, lie in the folder for temporary files.
        return run("buildah", *options, *arguments, BUILDAH_ISOLATION="chroot", TMPDIR=str(cache())).strip()

    def unpack(self, image: str) -> Path:
        """The file system of a new container."""
        return Path(self("mount", self("from", "--pull-never", image)))


@contextmanager
def built(
    archive: Path | None = None, source: Path = ROOT, arguments: Mapping[str, str] | None = None
) -> Iterator[Image]:
    """Build the image of a source tree on the bootstrapped base. Raises BedError with the end of the build's log.

    `arguments` are those of the build; None: what a release passes. The image is also written to `archive`, an OCI
    archive, if one is given.
    """
    base = base_archive()
    sweep()
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=cache()) as scratch:
        buildah = Buildah(Path(scratch))
        try:
            _import(buildah, base)
            arguments = build_arguments() if arguments is None else arguments
            _build(buildah, arguments, source)
            config = json.loads(buildah("inspect", "--type=image", IMAGE))["OCIv1"]["config"]
            if archive:
                buildah("push", "--quiet", IMAGE, f"oci-archive:{archive}:{IMAGE}")
            yield Image(buildah.unpack(IMAGE), base, config, arguments)
        finally:
            buildah("umount", "--all")
            buildah("rm", "--all")


def build_arguments() -> dict[str, str]:
    """What a release passes too: version, commit and the commit's time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    revision, created = run("git", "-C", ROOT, "show", "--no-patch", "--format=%H %cI", "HEAD").split()
    return {"VERSION": project["version"], "REVISION": revision, "CREATED": created}


def sweep() -> None:
    """Remove what runs that were killed have left behind; none takes a day."""
    for folder in cache().glob(f"{PREFIX}*"):
        if time.time() - folder.stat().st_mtime > DAY_SECONDS:
            shutil.rmtree(folder)


def _import(buildah: Buildah, archive: Path) -> None:
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, archive, "/")
    buildah("commit", "--quiet", "--disable-compression", "--rm", container, BASE)


def _build(buildah: Buildah, arguments: Mapping[str, str], source: Path) -> None:
    given = {"BASE_IMAGE": BASE, **arguments}
    options = [f"--build-arg={name}={value}" for name, value in given.items()]
    secrets = [f"--secret=id={name},src={path}" for name, path in pip_secrets(buildah.folder).items()]
    buildah("build", "--quiet", "--pull-never", "--format=oci", *options, *secrets, f"--tag={IMAGE}", source)


def pip_secrets(folder: Path) -> dict[str, Path]:
    """The build's secrets: a pip.conf that says what the user's pip is told, and the authorities it trusts."""
    settings = _pip_settings()
    secrets = {}
    if authorities := settings.get("cert"):
        secrets["ca.pem"] = Path(authorities)
        settings["cert"] = "/run/secrets/ca.pem"
    if settings:
        secrets["pip.conf"] = folder / "pip.conf"
        lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
        secrets["pip.conf"].write_text("\n".join([*lines, ""]))
    return secrets


def _pip_settings() -> dict[str, str]:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    pairs = (line.split("=", 1) for line in listed.splitlines() if "=" in line)
    # The same setting may come from a file and from the environment, which is stronger: its lines (:env:) come first.
    settings = {key.rpartition(".")[2]: value.strip("'\"") for key, value in reversed(list(pairs))}
    return {name: value for name, value in settings.items() if name in PIP_SETTINGS}
