"""What only the leader does: when it begins, and what becomes of work that fails."""

import logging
import re
import threading
import time
from collections.abc import Iterator

import pytest

from app.controller.leadership import Leadership
from app.controller.worker import LeaderTask, Worker
from app.controller.workqueue import WorkQueue
from app.kube.errors import Fenced, Forbidden, Invalid, Unreachable
from app.telemetry.metrics import ControllerMetrics
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
def leadership() -> Leadership:
    return Leadership()


@pytest.fixture
def passes() -> Passes:
    return Passes(Unreachable("the API server is away"), Fenced(), ValueError("a bug"))


@pytest.fixture
def task(passes: Passes, leadership: Leadership) -> Iterator[LeaderTask]:
    task = LeaderTask("sweeping", passes.check, leadership, passes.failed)
    task.start()
    yield task
    leadership.begin()
    task.stop(30.0)


@pytest.mark.usefixtures("task")
def test_only_the_leader_runs_the_task_and_it_logs_and_retries_failures(
    passes: Passes, leadership: Leadership, caplog: pytest.LogCaptureFixture
) -> None:
    assert passes.count == 0
    leadership.begin()
    wait_until(lambda: passes.count > 5, "it goes on after failures")
    assert passes.failures == 2
    told = [(record.levelno, re.sub(r"[\d.]+ s", "N s", record.getMessage())) for record in caplog.records]
    assert told == [
        (logging.WARNING, "sweeping failed, retrying in N s: the API server is away (0 Unreachable)"),
        (logging.ERROR, "unexpected error in sweeping, retrying in N s"),
    ]


def test_a_stopped_one_is_done_no_more(task: LeaderTask, passes: Passes, leadership: Leadership) -> None:
    task.stop(0.0)
    leadership.begin()
    task.stop(30.0)
    assert passes.count == 0


class Desk:
    """Work on keys, each of which ends as it is told; notes what it is told itself."""

    def __init__(self) -> None:
        self.ends: dict[str, list[Exception]] = {}
        self.worked: list[str] = []
        self.told: list[str] = []
        self.unwanted = set[str]()

    def wants(self, key: str) -> bool:
        return key not in self.unwanted

    def work(self, key: str) -> None:
        self.worked.append(key)
        if ends := self.ends.get(key):
            raise ends.pop(0)

    def failed(self, key: str, error: Exception) -> None:
        self.told.append(f"failed {key}: {error}")

    def refused(self, key: str, error: Exception) -> None:
        self.told.append(f"refused {key}: {error}")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(group=lambda key: key[0], base=0.001, cap=0.01, longest_pause=0.01)


@pytest.fixture
def metrics() -> ControllerMetrics:
    return ControllerMetrics()


@pytest.fixture
def worker(
    desk: Desk, queue: WorkQueue[str], leadership: Leadership, metrics: ControllerMetrics
) -> Iterator[Worker[str]]:
    worker = Worker("sums", queue, desk, leadership, metrics.reconciles.meter("sums"), threads=2)
    worker.start()
    yield worker
    worker.stop(30.0)


def reconciled(metrics: ControllerMetrics, result: str) -> float | None:
    labels = {"controller": "sums", "result": result}
    return metrics.registry.get_sample_value("controller_runtime_reconcile_total", labels)


@pytest.mark.usefixtures("worker")
class TestAWorker:
    def test_begins_once_this_replica_leads(self, desk: Desk, queue: WorkQueue[str], leadership: Leadership) -> None:
        queue.add("a")
        assert desk.worked == []
        leadership.begin()
        wait_until(lambda: desk.worked == ["a"], "it is worked on")

    def test_retries_failed_keys_and_logs_unexpected_errors_with_their_trace(
        self,
        desk: Desk,
        queue: WorkQueue[str],
        leadership: Leadership,
        metrics: ControllerMetrics,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        desk.ends = {"a": [Unreachable("the API server is away"), ValueError("a bug")]}
        leadership.begin()
        queue.add("a")
        wait_until(lambda: reconciled(metrics, "success") == 1, "it succeeds in the end")
        assert desk.worked == ["a", "a", "a"]
        assert desk.told == ["failed a: the API server is away (0 Unreachable)", "failed a: a bug"]
        assert [record.getMessage() for record in caplog.records if record.exc_info] == [
            "unexpected error in sums of a; will retry"
        ]
        assert reconciled(metrics, "error") == 2

    def test_reports_a_refused_group_at_most_twice_and_counts_no_error(
        self, desk: Desk, queue: WorkQueue[str], leadership: Leadership, metrics: ControllerMetrics
    ) -> None:
        keys = [f"a{number}" for number in range(20)]
        desk.ends = {key: [Forbidden(403, "Forbidden", "quota"), Invalid(422, "Invalid", "quota")] for key in keys}
        leadership.begin()
        for key in keys:
            queue.add(key)
        wait_until(lambda: not any(desk.ends.values()) and not queue.refused(), "all succeed in the end")
        assert len([told for told in desk.told if told.startswith("refused")]) <= 2
        assert not [told for told in desk.told if told.startswith("failed")]
        assert (reconciled(metrics, "refused"), reconciled(metrics, "error")) == (40, 0)

    def test_says_nothing_of_writes_that_were_not_sent_because_it_leads_no_more(
        self, desk: Desk, queue: WorkQueue[str], leadership: Leadership, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk.ends = {"a": [Fenced(), Fenced()]}
        leadership.begin()
        queue.add("a")
        wait_until(lambda: len(desk.worked) == 3, "it is tried again")
        assert (desk.told, caplog.records) == ([], [])

    def test_skips_unwanted_keys(
        self, desk: Desk, queue: WorkQueue[str], leadership: Leadership, metrics: ControllerMetrics
    ) -> None:
        desk.unwanted = {"a"}
        leadership.begin()
        queue.add("a")
        queue.add("b")
        wait_until(lambda: desk.worked == ["b"], "the other is worked on")
        assert reconciled(metrics, "success") == 1


class TestLeadership:
    def test_wait_returns_true_when_leadership_begins_and_while_it_lasts(self, leadership: Leadership) -> None:
        stopping = threading.Event()
        assert not leadership.wait(stopping, 0.01)
        threading.Timer(0.05, leadership.begin).start()
        assert leadership.wait(stopping, 30.0)
        assert leadership.wait(stopping, 0.0)
        leadership.end()
        assert not leadership.wait(stopping, 0.0)

    def test_who_is_stopped_wakes_up_and_does_not_lead(self, leadership: Leadership) -> None:
        stopping, began = threading.Event(), time.monotonic()
        threading.Timer(0.05, leadership.stop, [stopping]).start()
        assert not leadership.wait(stopping, 30.0)
        assert time.monotonic() - began < 20
        assert not leadership.leads()

    def test_who_leads_and_is_stopped_begins_nothing_more(self, leadership: Leadership) -> None:
        stopping = threading.Event()
        leadership.begin()
        leadership.stop(stopping)
        assert not leadership.wait(stopping, 30.0)
        assert leadership.leads(), "to stop one part is not to lead no more"
