"""The image, built once for all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.errors import BedError
from tests.image.base import complaint
from tests.image.build import Image, built


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image and its file system. Ends the run, with the reason, where it cannot be built."""
    if reason := complaint():
        pytest.exit(reason, returncode=2)
    try:
        with built() as image:
            yield image
    except BedError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty folder to mount."""
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder
