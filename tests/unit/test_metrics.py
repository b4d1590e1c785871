"""What is counted, and under which names it is shown."""

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.controller.gauges import Latency
from app.controller.workqueue import WorkQueue
from app.core.resources.service_entry import Key
from app.telemetry.metrics import ControllerMetrics, WebhookMetrics


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of this name, by the values of their labels."""
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {tuple(sample.labels.values()): sample.value for sample in samples if sample.name == name}


class TestAWorkQueue:
    """Its numbers are client-go's."""

    @pytest.fixture
    def metrics(self) -> ControllerMetrics:
        """Instruments of a controller that leads."""
        metrics = ControllerMetrics()
        metrics.queues.leading = lambda: True
        return metrics

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def queue(self, metrics: ControllerMetrics, clock: Clock) -> WorkQueue[str]:
        queue = WorkQueue[str](base=1.0, clock=clock, meter=metrics.queues.meter("emission"))
        metrics.queues.watch("emission", queue)
        return queue

    def test_counts_an_add_once_while_the_key_waits_and_again_while_it_is_held(
        self, metrics: ControllerMetrics, queue: WorkQueue[str]
    ) -> None:
        queue.add("a")
        queue.add("a")
        queue.get()
        queue.add("a")
        queue.add("a")
        queue.done("a")
        assert shown(metrics.registry, "workqueue_adds_total") == {("emission",): 2}
        assert shown(metrics.registry, "workqueue_depth") == {("emission",): 1}

    def test_shows_how_long_its_keys_wait_and_are_held(
        self, metrics: ControllerMetrics, queue: WorkQueue[str], clock: Clock
    ) -> None:
        queue.add("a")
        queue.add("b")
        clock.now += 2
        queue.get()
        clock.now += 3
        queue.get()
        clock.now += 1
        assert shown(metrics.registry, "workqueue_queue_duration_seconds_sum") == {("emission",): 2 + 5}
        assert shown(metrics.registry, "workqueue_unfinished_work_seconds") == {("emission",): 4 + 1}
        assert shown(metrics.registry, "workqueue_longest_running_processor_seconds") == {("emission",): 4}
        queue.done("a")
        queue.done("b")
        queue.done("b")
        assert shown(metrics.registry, "workqueue_work_duration_seconds_sum") == {("emission",): 4 + 1}
        assert shown(metrics.registry, "workqueue_longest_running_processor_seconds") == {("emission",): 0}

    def test_counts_retries_and_the_age_of_the_oldest_key(
        self, metrics: ControllerMetrics, queue: WorkQueue[str], clock: Clock
    ) -> None:
        queue.add("a")
        queue.get()
        queue.retry("a")
        queue.done("a")
        clock.now += 10
        assert shown(metrics.registry, "workqueue_retries_total") == {("emission",): 1}
        assert shown(metrics.registry, "workqueue_depth") == {("emission",): 1}
        age = shown(metrics.registry, "serviceentry_guard_workqueue_oldest_item_age_seconds")
        assert 8 <= age["emission",] <= 10

    def test_counts_waiting_from_when_it_is_opened(
        self, metrics: ControllerMetrics, queue: WorkQueue[str], clock: Clock
    ) -> None:
        queue.add("a")
        clock.now += 3600
        queue.open()
        clock.now += 1
        assert queue.oldest() == 1
        queue.get()
        assert shown(metrics.registry, "workqueue_queue_duration_seconds_sum") == {("emission",): 1}

    def test_shows_no_depth_where_another_replica_works_on_it(
        self, metrics: ControllerMetrics, queue: WorkQueue[str]
    ) -> None:
        queue.add("a")
        metrics.queues.leading = lambda: False
        for name in ("workqueue_depth", "serviceentry_guard_workqueue_oldest_item_age_seconds"):
            assert shown(metrics.registry, name) == {}


class TestLatency:
    """From a change to the write that follows."""

    KEY = Key("team", "api")

    @pytest.fixture
    def state(self) -> dict[str, Any]:
        """Whether this replica leads, its instruments, its clock."""
        return {"leading": True, "metrics": ControllerMetrics(), "clock": Clock()}

    @pytest.fixture
    def latency(self, state: Mapping[str, Any]) -> Latency:
        return Latency(state["metrics"].emission_latency, lambda: bool(state["leading"]), state["clock"])

    def seconds(self, state: Mapping[str, Any]) -> tuple[float, float]:
        """How many were counted, and their sum."""
        name = "serviceentry_guard_emission_latency_seconds"
        registry = state["metrics"].registry
        return shown(registry, f"{name}_count")[()], shown(registry, f"{name}_sum")[()]

    def test_is_counted_from_the_first_of_several_changes(self, latency: Latency, state: dict[str, Any]) -> None:
        for _ in range(2):
            latency.changed([self.KEY])
            state["clock"].now += 1
        latency.written(latency.take(self.KEY))
        assert self.seconds(state) == (1, 2)

    def test_is_counted_once_for_each_change(self, latency: Latency, state: dict[str, Any]) -> None:
        latency.changed([self.KEY])
        latency.written(latency.take(self.KEY))
        latency.written(latency.take(self.KEY))
        assert self.seconds(state) == (1, 0)

    def test_goes_on_while_a_reconciliation_fails(self, latency: Latency, state: dict[str, Any]) -> None:
        latency.changed([self.KEY])
        since = latency.take(self.KEY)
        state["clock"].now += 5
        latency.changed([self.KEY])
        latency.put_back(self.KEY, since)
        latency.put_back(Key("team", "other"), None)
        state["clock"].now += 5
        latency.written(latency.take(self.KEY))
        assert self.seconds(state) == (1, 10)

    def test_is_counted_from_the_last_change_before_this_replica_led(
        self, latency: Latency, state: dict[str, Any]
    ) -> None:
        state["leading"] = False
        latency.changed([self.KEY])
        state["clock"].now += 3600
        latency.changed([self.KEY])
        state["clock"].now += 2
        state["leading"] = True
        latency.written(latency.take(self.KEY))
        assert self.seconds(state) == (1, 2)


def test_only_the_leader_exposes_a_gauge_and_deleted_labels_disappear() -> None:
    metrics, leading = ControllerMetrics(), [True]
    counts: dict[tuple[str, ...], float] = {("team",): 2, ("other",): 1}
    metrics.show(metrics.host_conflicts, lambda: counts, lambda: leading[0])
    name = "serviceentry_guard_host_conflicts"
    assert shown(metrics.registry, name) == {("team",): 2, ("other",): 1}
    del counts["other",]
    assert shown(metrics.registry, name) == {("team",): 2}
    leading[0] = False
    assert shown(metrics.registry, name) == {}


def test_calls_that_got_no_answer_are_counted_as_client_go_does() -> None:
    metrics = ControllerMetrics()
    metrics.api.called("apply", 0, 1.0)
    metrics.api.called("apply", 200, 0.1)
    metrics.api.called("apply", 200, 0.1)
    requests = shown(metrics.registry, "rest_client_requests_total")
    assert requests == {("apply", "<error>"): 1, ("apply", "200"): 2}
    assert shown(metrics.registry, "rest_client_request_duration_seconds_count") == {("apply",): 3}


def test_no_series_is_shown_twice_as_the_time_of_its_creation() -> None:
    for metrics in (WebhookMetrics(), ControllerMetrics()):
        names = [sample.name for family in metrics.registry.collect() for sample in family.samples]
        assert not [name for name in names if name.endswith("_created")]


def test_an_operation_that_kubernetes_does_not_have_makes_no_label() -> None:
    metrics = WebhookMetrics()
    for operation in ("CREATE", "invented", "evil"):
        metrics.answered("mutate", operation, "allowed", ["SEG020", "SEG003"], seconds=0.001, size=2000)
    metrics.refused("validate", "malformed")
    name = "serviceentry_guard_admission_requests_total"
    assert shown(metrics.registry, name) == {
        ("mutate", "CREATE", "allowed"): 1,
        ("mutate", "other", "allowed"): 2,
        ("validate", "other", "malformed"): 1,
    }
    found = shown(metrics.registry, "serviceentry_guard_admission_findings_total")
    assert found["mutate", "other", "allowed", "SEG003"] == 2
    assert shown(metrics.registry, "serviceentry_guard_admission_request_body_size_bytes_sum") == {("mutate",): 6000}
