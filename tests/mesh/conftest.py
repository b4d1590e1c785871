"""The run of `python -m tests.mesh` that the tests of this folder are about."""

import json
import sys

import pytest

from tests.bed.binaries import provide, provide_mesh
from tests.bed.errors import BedError
from tests.bed.processes import Child
from tests.bed.require import give_up
from tests.mesh import networks
from tests.mesh.measuring import Report

SECONDS = 600


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What the run measured. It has networks and mounts of its own, so it is a process of its own."""
    return _measured(pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def ambient_report(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What the run in an ambient mesh measured."""
    return _measured(pytestconfig, tmp_path_factory, "--ambient")


def _measured(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, *flags: str) -> Report:
    if trouble := networks.complaint():
        give_up(trouble)
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            provide()
            provide_mesh()
        except BedError as error:
            give_up(str(error))
    folder = tmp_path_factory.mktemp("mesh")
    path = folder / "report.json"
    with Child(sys.executable, "-m", "tests.mesh", *flags, f"--json={path}", log=folder / "mesh.log") as run:
        assert run.process.wait(SECONDS) == 0, run.tail(60)
    return Report.from_json(json.loads(path.read_text()))
