"""Instruments that come in groups: samples read at a scrape, work queues, reconciliations, calls to the API server.

Their names are those of controller-runtime and client-go wherever these have one, so that dashboards made for them fit.
Children are kept: looking one up by its labels costs more than counting.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

WORK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CALL_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
NO_ANSWER = "<error>"
"""What client-go writes as the code of a call that got no answer."""

Readings = Mapping[tuple[str, ...], float]
"""Values by the values of the labels."""
Family = type[CounterMetricFamily] | type[GaugeMetricFamily]


class Reading(Collector):
    """A metric whose samples are read from `source` at each scrape: what is no longer there is not shown any more."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...] = (), *, counter: bool = False
    ) -> None:
        self.source: Callable[[], Readings] = dict
        self.labels = labels
        self._name = name
        self._text = text
        self._family: Family = CounterMetricFamily if counter else GaugeMetricFamily
        registry.register(self)

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Give the family without samples: what is registered need not be ready to be read."""
        yield self._family(self._name, self._text, labels=self.labels)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Give the family with the samples of this moment."""
        for family in self.describe():
            for labels, value in self.source().items():
                family.add_metric(labels, value)
            yield family


class FastCounter(Collector):
    """A counter for one thread: a tenth of the time of one that locks, for what is counted in each request."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._name = name
        self._text = text
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def inc(self, labels: tuple[str, ...]) -> None:
        """Count one more with these values of the labels."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Give the family without samples."""
        yield CounterMetricFamily(self._name, self._text, labels=self.labels)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the family with its samples."""
        for family in self.describe():
            for labels, count in self._counts.items():
                family.add_metric(labels, count)
            yield family


class FastHistogram(Collector):
    """A histogram for one thread; `buckets` are upper bounds in ascending order."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> None:
        self.labels = labels
        self.buckets = buckets
        self._name = name
        self._text = text
        self._observed: dict[tuple[str, ...], list[float]] = {}  # counts of the buckets, of what is above, and the sum
        registry.register(self)

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value with these values of the labels."""
        if (numbers := self._observed.get(labels)) is None:
            numbers = self._observed[labels] = [0] * (len(self.buckets) + 2)
        numbers[bisect_left(self.buckets, value)] += 1
        numbers[-1] += value

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Give the family without samples."""
        yield HistogramMetricFamily(self._name, self._text, labels=self.labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the family with its samples."""
        bounds = [*map(floatToGoString, self.buckets), "+Inf"]
        for family in self.describe():
            for labels, (*counts, total) in self._observed.items():
                family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
            yield family


class Queue(Protocol):
    """What is read from a work queue; ages in seconds."""

    def __len__(self) -> int: ...

    def oldest(self) -> float: ...

    def working(self) -> tuple[float, ...]: ...


class QueueMeter:
    """What is counted of one work queue. It is told by the queue; times in seconds."""

    def __init__(self, metrics: "QueueMetrics", name: str) -> None:
        self._adds = metrics.adds.labels(name)
        self._retries = metrics.retries.labels(name)
        self._waited = metrics.waited.labels(name)
        self._worked = metrics.worked.labels(name)

    def added(self) -> None:
        """Count a key that was not waiting yet."""
        self._adds.inc()

    def retried(self) -> None:
        """Count a key that failed."""
        self._retries.inc()

    def started(self, waited: float) -> None:
        """Count a key that a worker took."""
        self._waited.observe(waited)

    def finished(self, worked: float) -> None:
        """Count a key that a worker gave back."""
        self._worked.observe(worked)


class QueueMetrics:
    """Work queues, each by its name. Keys wait in replicas that do not lead too; there, only adds are counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("name",)
        self.adds = Counter(
            "workqueue_adds_total", "Keys added to a queue that were not waiting there.", labels, registry=registry
        )
        self.retries = Counter(
            "workqueue_retries_total", "Keys put back because their work failed.", labels, registry=registry
        )
        self.waited = Histogram(
            "workqueue_queue_duration_seconds",
            "How long keys waited for a worker.",
            labels,
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self.worked = Histogram(
            "workqueue_work_duration_seconds",
            "How long workers held keys.",
            labels,
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self._queues: dict[str, Queue] = {}
        for name, text, read in _QUEUE_READINGS:
            Reading(registry, name, text, labels).source = self._reader(read)
        self.leading: Callable[[], bool] = lambda: False

    def meter(self, name: str) -> QueueMeter:
        """Return what the queue of this name is to tell."""
        return QueueMeter(self, name)

    def watch(self, name: str, queue: Queue) -> None:
        """Show depth and ages of a queue."""
        self._queues[name] = queue

    def _reader(self, read: Callable[[Queue], float]) -> Callable[[], Readings]:
        def readings() -> Readings:
            queues = self._queues if self.leading() else {}
            return {(name,): read(queue) for name, queue in queues.items()}

        return readings


_QUEUE_READINGS: tuple[tuple[str, str, Callable[[Queue], float]], ...] = (
    ("workqueue_depth", "Keys that wait for a worker. Shown by the leader only.", len),
    (
        "serviceentry_guard_workqueue_oldest_item_age_seconds",
        "How long the key that has waited longest waits for a worker. Shown by the leader only.",
        lambda queue: queue.oldest(),
    ),
    (
        "workqueue_unfinished_work_seconds",
        "How long workers have held the keys that they hold, all together. Shown by the leader only.",
        lambda queue: sum(queue.working()),
    ),
    (
        "workqueue_longest_running_processor_seconds",
        "How long the worker that has held its key longest has held it. Shown by the leader only.",
        lambda queue: max(queue.working(), default=0.0),
    ),
)


class ReconcileMeter:
    """What is counted of the reconciliations of one controller."""

    def __init__(self, metrics: "ReconcileMetrics", controller: str) -> None:
        self._succeeded = metrics.total.labels(controller, "success")
        self._failed = metrics.total.labels(controller, "error")
        self._errors = metrics.errors.labels(controller)
        self._seconds = metrics.seconds.labels(controller)

    def done(self, began: float, *, failed: bool) -> None:
        """Count one that began at this reading of time.monotonic."""
        self._seconds.observe(time.monotonic() - began)
        if failed:
            self._failed.inc()
            self._errors.inc()
        else:
            self._succeeded.inc()


class ReconcileMetrics:
    """Reconciliations, by controller: `emission` keeps objects, `remediation` patches existing entries."""

    def __init__(self, registry: CollectorRegistry) -> None:
        controller = ("controller",)
        self.total = Counter(
            "controller_runtime_reconcile_total",
            "Reconciliations by result: success or error.",
            ("controller", "result"),
            registry=registry,
        )
        self.errors = Counter(
            "controller_runtime_reconcile_errors_total",
            "Reconciliations that failed; they are tried again.",
            controller,
            registry=registry,
        )
        self.seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "How long reconciliations took.",
            controller,
            buckets=WORK_BUCKETS,
            registry=registry,
        )

    def meter(self, controller: str) -> ReconcileMeter:
        """Return what a controller is to tell."""
        return ReconcileMeter(self, controller)


class ApiMetrics:
    """Calls to the API server, and its watches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rest_client_requests_total",
            f"Calls to the API server by verb and HTTP status code ({NO_ANSWER}: no answer came).",
            ("verb", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Time until the API server began to answer.",
            ("verb",),
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self._restarts = Counter(
            "serviceentry_guard_watch_restarts_total",
            "Watches that were begun anew by reason: ended (as they do after five minutes), expired (everything is "
            "listed again), failed.",
            ("resource", "reason"),
            registry=registry,
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def called(self, verb: str, status: int, seconds: float) -> None:
        """Count a call; status 0 says that no answer came."""
        if (known := self._children.get((verb, status))) is None:
            known = self._requests.labels(verb, str(status or NO_ANSWER)), self._seconds.labels(verb)
            self._children[verb, status] = known
        requests, durations = known
        requests.inc()
        durations.observe(seconds)

    def watch_restarted(self, resource: str, reason: str) -> None:
        """Count a watch that is begun anew."""
        self._restarts.labels(resource, reason).inc()


def leader_gauge(registry: CollectorRegistry) -> Gauge:
    """Return the gauge that client-go's elections have, for the name of the Lease."""
    return Gauge(
        "leader_election_master_status",
        "1 while this process leads, by the name of the Lease; 0 while another one does.",
        ("name",),
        registry=registry,
    )
