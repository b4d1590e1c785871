"""One istio-generator of each kind for all tests of a worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.binaries import provide_generator
from tests.bed.errors import BedError
from tests.bed.require import give_up
from tests.harm.generator import Generator


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config) -> Path:
    """The program that says what istiod gives a proxy; it is built first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            return provide_generator()
        except BedError as error:
            give_up(str(error))


@pytest.fixture(scope="session")
def generator(program: Path) -> Iterator[Generator]:
    """The running program: what istiod gives a sidecar."""
    with Generator(program) as running:
        yield running


@pytest.fixture(scope="session")
def ambient(program: Path) -> Iterator[Generator]:
    """The running program of an ambient mesh: what istiod gives waypoints as well."""
    with Generator(program, ambient=True) as running:
        yield running
