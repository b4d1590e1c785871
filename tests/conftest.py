"""What every test may use: one control plane for the whole run, a namespace for each test."""

import os
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file on one worker, because they share its fixtures, and begin with the long ones."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: _place(item.path.parent.name))


def _place(folder: str) -> int:
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


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
