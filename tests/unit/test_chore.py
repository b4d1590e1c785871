"""What only the leader does, again and again: when, and what becomes of a pass that fails."""

import logging
import threading
from collections.abc import Iterator

import pytest

from app.controller.chore import Chore
from app.kube.errors import Fenced, Unreachable
from tests.bed.processes import wait_until


class Passes:
    """Counts passes, and has each end as it is told."""

    def __init__(self, *ends: Exception) -> None:
        self.count = 0
        self.failures = 0
        self._ends = list(ends)

    def check(self) -> float:
        self.count += 1
        if self._ends:
            raise self._ends.pop(0)
        return 0.0

    def failed(self) -> None:
        self.failures += 1


@pytest.fixture
def leading() -> threading.Event:
    return threading.Event()


@pytest.fixture
def passes() -> Passes:
    return Passes(Unreachable("the API server is away"), Fenced(), ValueError("a bug"))


@pytest.fixture
def chore(passes: Passes, leading: threading.Event) -> Iterator[Chore]:
    chore = Chore("sweeping", passes.check, leading, passes.failed)
    chore.start()
    yield chore
    leading.set()
    chore.stop(30.0)


@pytest.mark.usefixtures("chore")
def test_it_is_done_by_the_leader_alone_and_again_after_failures_which_are_told_unless_it_leads_no_more(
    passes: Passes, leading: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    assert passes.count == 0
    leading.set()
    wait_until(lambda: passes.count > 5, "it goes on after failures")
    assert passes.failures == 2
    told = [(record.levelno, record.getMessage().partition("; again in ")[0]) for record in caplog.records]
    assert told == [
        (logging.WARNING, "sweeping: the API server is away (0 Unreachable)"),
        (logging.ERROR, "a bug in sweeping"),
    ]


def test_a_stopped_one_is_done_no_more(chore: Chore, passes: Passes, leading: threading.Event) -> None:
    chore.stop(0.0)
    leading.set()
    chore.stop(30.0)
    assert passes.count == 0
