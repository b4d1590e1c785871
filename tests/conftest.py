"""What every test may use: one control plane for the whole run, a namespace for each test."""

import logging
import os
from collections.abc import Iterator
from itertools import count
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from app.logs import OURS
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane

NUMBERS = count(1)

# A busy machine is no reason for a property to fail; in CI the examples are the same each time.
settings.register_profile(
    "guard", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("guard")


LONGEST_FIRST = ("mesh", "e2e", "chart", "observability", "docs", "contract", "unit")
"""Folders in the order in which their tests begin, so that no worker is left with the long ones at the end."""
TOGETHER = ("mesh", "chart", "observability", "docs")
"""Folders whose files share what is slow to start: one worker has all of them."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Keeps the tests of a file on one worker, and those of some folders too, because they share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        return str(file.parent if file.parent.name in TOGETHER else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Take the place of pytest-xdist's groups, which pytest 9.2 does not see."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones."""
    items.sort(key=lambda item: _place(item.path.parent.name))


def _place(folder: str) -> int:
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """Set the levels of logs back: a command that ran inside of a test has set its own, and others count records."""
    loggers = [logging.getLogger(), logging.getLogger(OURS)]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A real API server with Istio's CRDs; its programs are built first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        binaries = provide()
    with ControlPlane(binaries) as control_plane:
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A new namespace that no other test uses. It is left behind: nothing here could clean it up."""
    name = f"test-{next(NUMBERS)}"
    control_plane.kubectl("create", "namespace", name)
    return name
