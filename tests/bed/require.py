"""Programs that the test bed does not build and a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest


def require(program: str) -> Path:
    """Return where a program is. Where it is not, the test is skipped by its name, and fails where CI runs."""
    if found := shutil.which(program):
        return Path(found)
    lacking = f"{program} is not installed"
    if "CI" in os.environ:
        pytest.fail(lacking)
    pytest.skip(lacking)
