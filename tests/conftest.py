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
