"""Instruments that come in groups: of work queues, of reconciliations, of calls to the API server.

Their names are those of controller-runtime and client-go wherever these have one, so that dashboards made for them fit.
Children are kept: looking one up by its labels costs more than counting.
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
"""What client-go writes as the code of a call that got no answer."""


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


class ReconcileResult(enum.Enum):
    """How a reconciliation ends. The API server refuses what one namespace may not have: that is no failure of ours."""

    SUCCESS = "success"
    ERROR = "error"
    REFUSED = "refused"


class ReconcileMeter:
    """What is counted of the reconciliations of one controller."""

    def __init__(self, metrics: "ReconcileMetrics", controller: str) -> None:
        self._results = {result: metrics.total.labels(controller, result.value) for result in ReconcileResult}
        self._errors = metrics.errors.labels(controller)
        self._seconds = metrics.seconds.labels(controller)

    def done(self, began: float, result: ReconcileResult) -> None:
        """Count one that began at this reading of time.monotonic."""
        self._seconds.observe(time.monotonic() - began)
        self._results[result].inc()
        if result is ReconcileResult.ERROR:
            self._errors.inc()


class ReconcileMetrics:
    """Reconciliations, by controller: `emission` keeps objects, `remediation` patches entries, `reports` reports."""

    def __init__(self, registry: CollectorRegistry) -> None:
        controller = ("controller",)
        self.total = Counter(
            "controller_runtime_reconcile_total",
            "Reconciliations by result: success, error, or refused (403 or 422 of the API server).",
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
