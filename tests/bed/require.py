"""What the test bed does not build and a machine may lack."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require(program: str) -> Path:
    """Return where a program is. Where it is not, the test is skipped by its name, and fails where CI runs."""
    found = shutil.which(program)
    if not found:
        give_up(f"{program} is not installed")
    return Path(found)


def give_up(lacking: str) -> NoReturn:
    """Skip the test, saying what is lacking; fail it where CI runs: nothing is skipped there."""
    if "CI" in os.environ:
        pytest.fail(lacking, pytrace=False)
    pytest.skip(lacking)
