"""Metrics that come in groups: work queues, reconciliations, calls to the API server.

They have the names of controller-runtime and client-go where these exist, so that existing dashboards work. The child
of each label set is kept, because looking it up costs more than counting.
"""

import enum
import time
from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.telemetry.collectors import Reading, Readings

WORK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CALL_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
NO_ANSWER = "<error>"
"""The code that client-go records for a call without a response."""


class Queue(Protocol):
    """A work queue whose depth and ages are read at a scrape; ages in seconds."""

    def __len__(self) -> int: ...

    def oldest(self) -> float: ...

    def working(self) -> tuple[float, ...]: ...


class QueueMeter:
    """Metrics of one work queue, which the queue reports itself; times in seconds."""

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
    """Metrics of the work queues, by name. A standby queues keys too, but only counts them in `adds`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("name",)
        self.adds = Counter(
            "workqueue_adds_total", "Keys added to a work queue that were not in it.", labels, registry=registry
        )
        self.retries = Counter(
            "workqueue_retries_total", "Keys put back into a work queue after a failure.", labels, registry=registry
        )
        self.waited = Histogram(
            "workqueue_queue_duration_seconds",
            "Time that keys waited in the queue for a worker.",
            labels,
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self.worked = Histogram(
            "workqueue_work_duration_seconds",
            "Time that a worker took for a key.",
            labels,
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self._queues: dict[str, Queue] = {}
        for name, text, read in _QUEUE_READINGS:
            Reading(registry, name, text, labels).source = self._reader(read)
        self.leading: Callable[[], bool] = lambda: False

    def meter(self, name: str) -> QueueMeter:
        """Return the meter that the queue of this name reports to."""
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
    ("workqueue_depth", "Keys in the queue that wait for a worker. Leader only.", len),
    (
        "serviceentry_guard_workqueue_oldest_item_age_seconds",
        "Age of the oldest key in the queue. Leader only.",
        lambda queue: queue.oldest(),
    ),
    (
        "workqueue_unfinished_work_seconds",
        "Total time that running workers have spent on their current keys. Leader only.",
        lambda queue: sum(queue.working()),
    ),
    (
        "workqueue_longest_running_processor_seconds",
        "Time that the slowest running worker has spent on its current key. Leader only.",
        lambda queue: max(queue.working(), default=0.0),
    ),
)


class ReconcileResult(enum.Enum):
    """The result of a reconciliation.

    REFUSED is not a failure of the controller: the API server rejects the write (403 or 422).
    """

    SUCCESS = "success"
    ERROR = "error"
    REFUSED = "refused"


class ReconcileMeter:
    """Metrics of the reconciliations of one controller."""

    def __init__(self, metrics: "ReconcileMetrics", controller: str) -> None:
        self._results = {result: metrics.total.labels(controller, result.value) for result in ReconcileResult}
        self._errors = metrics.errors.labels(controller)
        self._seconds = metrics.seconds.labels(controller)

    def done(self, began: float, result: ReconcileResult) -> None:
        """Count a reconciliation that began at this value of time.monotonic."""
        self._seconds.observe(time.monotonic() - began)
        self._results[result].inc()
        if result is ReconcileResult.ERROR:
            self._errors.inc()


class ReconcileMetrics:
    """Metrics of reconciliations, by controller.

    `emission` writes VirtualServices and DestinationRules, `remediation` patches ServiceEntries, and `reports` writes
    PolicyReports.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        controller = ("controller",)
        self.total = Counter(
            "controller_runtime_reconcile_total",
            "Reconciliations by result: success, error, or refused (the API server answered 403 or 422).",
            ("controller", "result"),
            registry=registry,
        )
        self.errors = Counter(
            "controller_runtime_reconcile_errors_total",
            "Reconciliations that failed. The controller retries.",
            controller,
            registry=registry,
        )
        self.seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time that reconciliations took.",
            controller,
            buckets=WORK_BUCKETS,
            registry=registry,
        )

    def meter(self, controller: str) -> ReconcileMeter:
        """Return the meter that a controller reports to."""
        return ReconcileMeter(self, controller)


class ApiMetrics:
    """Metrics of calls to the API server, and of watches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rest_client_requests_total",
            f"Calls to the API server by verb and HTTP status code ({NO_ANSWER}: no response).",
            ("verb", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Time from a call to the API server until its response began.",
            ("verb",),
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self._restarts = Counter(
            "serviceentry_guard_watch_restarts_total",
            "Restarts of a watch by reason: ended (normal, every five minutes), expired (the resource is listed "
            "again), failed.",
            ("resource", "reason"),
            registry=registry,
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def called(self, verb: str, status: int, seconds: float) -> None:
        """Count a call; status 0 means that no response came."""
        if (known := self._children.get((verb, status))) is None:
            known = self._requests.labels(verb, str(status or NO_ANSWER)), self._seconds.labels(verb)
            self._children[verb, status] = known
        requests, durations = known
        requests.inc()
        durations.observe(seconds)

    def watch_restarted(self, resource: str, reason: str) -> None:
        """Count a watch that restarts."""
        self._restarts.labels(resource, reason).inc()


def leader_gauge(registry: CollectorRegistry) -> Gauge:
    """Return the gauge of client-go's leader election, by the name of the Lease."""
    return Gauge(
        "leader_election_master_status",
        "1 if this process is the leader, otherwise 0; by the name of the Lease.",
        ("name",),
        registry=registry,
    )
