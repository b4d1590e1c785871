"""The work of the controller's workers on an object name: reconcile it, and record the result."""

import logging
from collections import deque
from collections.abc import Callable, Mapping

from app.controller.contention import Contested
from app.controller.entry_events import EntryEvents
from app.controller.gauges import Conflicts, Latency
from app.controller.leadership import Leadership
from app.controller.reconciler import Reconciler
from app.controller.worker import Worker
from app.controller.workqueue import WorkQueue
from app.core.resources.service_entry import Key
from app.core.routes.plan import Changes
from app.kube.errors import Forbidden, Invalid, ServerError
from app.kube.timing import CLOCK, Clock
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import ENTRY_UIDS, Span, Tracer

log = logging.getLogger(__name__)

EMISSION = "emission"
"""The name of the queue and of its reconciliations in metrics."""
BURST = 20
"""Number of waiting keys, or of writes within a second, that make a burst. Remediation is slower than this."""
REFUSALS = (Forbidden, Invalid, ServerError)
"""Errors that apply to a whole namespace: a quota, an admission policy, a failing webhook."""


class Workers:
    """`count` threads that reconcile names, and record latency, conflicts and Events.

    They work while this replica leads, after `synced` returns True. Namespaces take turns. While no other
    namespace needs a worker, a namespace gets up to three quarters of them: a single one takes 1.5 times as long for a
    thousand new entries. Otherwise it gets one, because many writes at once make an API server slow for all.
    """

    def __init__(  # noqa: PLR0913 - its dependencies
        self,
        reconciler: Reconciler,
        events: EntryEvents,
        metrics: ControllerMetrics,
        tracer: Tracer,
        *,
        leadership: Leadership,
        synced: Callable[[], bool],
        count: int,
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self.queue = WorkQueue[Key](
            group=lambda key: key.namespace, common=count * 3 // 4, clock=clock, meter=metrics.queues.meter(EMISSION)
        )
        self.latency = Latency(metrics.emission_latency, leadership.leads, clock)
        self.conflicts = Conflicts()
        self._reconciler = reconciler
        self._events = events
        self._tracer = tracer
        self._written = deque[float](maxlen=BURST)  # when
        self._settled = False  # whether every key was added since this replica became the leader
        self._worker = Worker(
            EMISSION,
            self.queue,
            self,
            leadership,
            metrics.reconciles.meter(EMISSION),
            prepare=synced,
            refusals=REFUSALS,
            threads=count,
        )
        metrics.queues.watch(EMISSION, self.queue)

    def start(self) -> None:
        """Begin to work."""
        self._worker.start()

    def open(self) -> None:
        """Note that this replica is the leader from now on."""
        self._settled = False
        self.queue.open()

    def stop(self, seconds: float) -> None:
        """Begin nothing more; waits up to `seconds` for each thread that works."""
        self._worker.stop(seconds)

    def busy(self) -> bool:
        """Whether so many keys wait, or were written within the last second, that Events should wait."""
        written = tuple(self._written)
        fast = len(written) == BURST and self._clock() - written[0] < 1
        return fast or len(self.queue) >= BURST

    def refused_counts(self) -> Mapping[tuple[str, ...], int]:
        """Return the number of names that wait because the API server rejects writes in their namespace."""
        return {(str(namespace),): count for namespace, count in self.queue.refused().items()}

    def wants(self, key: Key) -> bool:  # noqa: ARG002 - every name is reconciled
        """Return True: every name is reconciled."""
        return True

    def work(self, key: Key) -> None:
        """Reconcile a name."""
        since = self.latency.take(key)
        attributes = {"k8s.namespace.name": key.namespace, "serviceentry_guard.name": key.name}
        try:
            with self._tracer.working("reconcile", attributes) as span:
                done = self._reconciler.reconcile(key)
                _note(span, done)
        except Contested as contested:
            self.latency.put_back(key, since)
            self._postpone(key, contested)
            return
        except Exception:
            self.latency.put_back(key, since)
            raise
        self._take_note(key, since, done)

    def failed(self, key: Key, error: Exception) -> None:
        """Log that reconciling a name failed."""
        log.warning("reconciling %s failed, will retry: %s", key, error)

    def refused(self, key: Key, error: Exception) -> None:
        """Log, once for a namespace, that the API server rejects writes there."""
        log.warning(
            "API server rejects writes in namespace %s; retrying with increasing delay: %s", key.namespace, error
        )
        if owner := self._reconciler.owner(key):
            self._events.refused(owner, str(error))

    def _postpone(self, key: Key, contested: Contested) -> None:
        """Try a contested key again later, and say once for each delay who changes its objects."""
        self.queue.add_after(key, contested.seconds)
        if not contested.first:
            return
        managers = ", ".join(self._reconciler.managers(key)) or "another client"
        log.warning("objects of %s are changed again and again by %s; %s", key, managers, contested)
        if owner := self._reconciler.owner(key):
            self._events.contested(owner, key.name, managers)

    def _take_note(self, key: Key, since: float | None, done: Changes) -> None:
        if done.apply or done.delete:
            self._written.append(self._clock())
            self.latency.written(since)
        for conflict in self.conflicts.put(key, done.foreign):
            self._events.yielded(conflict, standing=not self._settled)
        self._settled = self._settled or not len(self.queue)


def _note(span: Span, done: Changes) -> None:
    uids = dict.fromkeys(emitted.owner.uid for emitted, _ in done.apply)
    span.note(
        {
            ENTRY_UIDS: tuple(uids),
            "serviceentry_guard.applied": tuple(emitted.kind for emitted, _ in done.apply),
            "serviceentry_guard.deleted": tuple(stored.kind for stored in done.delete),
        }
    )
