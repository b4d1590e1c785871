"""The short form of `make chaos`: the quick faults, by their counts. Times are for the page, not for a test."""

from collections.abc import Iterator

import pytest

from tests.chaos.arena import arena
from tests.chaos.faults import Fault
from tests.chaos.runner import Runner
from tests.chaos.table import FAULTS, QUICK

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with arena() as found:
        yield Runner.of(found)


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.title)
def test_after_a_fault_exactly_what_must_be_stored_is_stored(runner: Runner, fault: Fault) -> None:
    if reason := fault.complaint():
        pytest.skip(reason)
    outcome = runner.run(fault)
    assert outcome.failures() == []
    assert outcome.counts.acknowledged, "the stream wrote something"


def test_each_fault_has_a_title_of_its_own() -> None:
    titles = [fault.title for fault in FAULTS]
    assert len(set(titles)) == len(titles)
