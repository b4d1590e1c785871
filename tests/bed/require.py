"""What the test bed does not build and a machine may lack."""

import json
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from tests.bed.binaries import ASSETS
from tests.bed.control_plane import ControlPlane


def require(program: str) -> Path:
    """Return where a program is. Where it is not, the test is skipped by its name, and fails where CI runs."""
    found = shutil.which(program)
    if not found:
        give_up(f"{program} is not installed")
    return Path(found)


def serves(control_plane: ControlPlane, kind: str, group_version: str) -> bool:
    """Whether an API server has a kind of objects in this version of a group."""
    status, body = control_plane.get(f"/apis/{group_version}")
    return status == 200 and kind in {each["kind"] for each in json.loads(body)["resources"]}


def require_resource(control_plane: ControlPlane, kind: str, group_version: str, since: str) -> None:
    """Leave the test out on an API server that lacks a kind, naming the first version of Kubernetes that has it.

    The server of a usual run has all of them: there it fails.
    """
    if not serves(control_plane, kind, group_version):
        _leave_out(f"{kind} needs Kubernetes {since}")


def require_kubernetes(control_plane: ControlPlane, since: str, what: str) -> None:
    """Leave the test out on an API server that is older than `since`, saying what it cannot do.

    The server of a usual run is newer: there it fails.
    """
    version = json.loads(control_plane.get("/version")[1])
    if (int(version["major"]), int(version["minor"])) < tuple(map(int, since.split("."))):
        _leave_out(f"{what} needs Kubernetes {since}")


def _leave_out(why: str) -> NoReturn:
    if ASSETS not in os.environ:
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def give_up(lacking: str) -> NoReturn:
    """Skip the test, saying what is lacking; fail it where CI runs: nothing is skipped there."""
    if "CI" in os.environ:
        pytest.fail(lacking, pytrace=False)
    pytest.skip(lacking)
