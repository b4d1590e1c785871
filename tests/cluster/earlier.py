"""The release before this one: its chart and its image, from the project's own history."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.image import kept
from tests.image.base import base_archive
from tests.image.build import ROOT

VERSION, COMMIT = "0.1.0", "fca29dca7fd68107e58bf3599e0c7f476efc81ae"
"""The latest release in CHANGELOG.md, and its last commit."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A release as it was published."""

    image: Path
    chart: Path


def earlier(folder: Path) -> Earlier | None:
    """The earlier release, with its sources in `folder`; None in a clone that lacks the commit. Raises BedError."""
    packed = subprocess.run(["git", "-C", ROOT, "archive", COMMIT], capture_output=True, check=False)
    if packed.returncode:
        return None
    subprocess.run(["tar", "--extract", f"--directory={folder}"], input=packed.stdout, check=True)
    arguments = {"VERSION": VERSION, "REVISION": COMMIT}
    image = kept(f"earlier-{COMMIT[:12]}-{base_archive().stem[-16:]}.tar", folder, arguments)
    return Earlier(image, folder / "charts" / "serviceentry-guard")
