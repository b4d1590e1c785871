"""One istio-generator for all tests of a worker."""

from collections.abc import Iterator

import pytest

from tests.bed.binaries import provide_generator
from tests.bed.errors import BedError
from tests.bed.require import give_up
from tests.harm.generator import Generator


@pytest.fixture(scope="session")
def generator(pytestconfig: pytest.Config) -> Iterator[Generator]:
    """The program that says what istiod gives a sidecar; it is built first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            program = provide_generator()
        except BedError as error:
            give_up(str(error))
    with Generator(program) as running:
        yield running
