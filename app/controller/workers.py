"""Threads that take keys from a queue and have them reconciled, where this replica leads."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from app.controller.latency import Latency
from app.controller.narrator import Narrator
from app.controller.reconciler import Reconciler
from app.controller.tally import Conflicts
from app.controller.workqueue import WorkQueue
from app.core.plan import Changes
from app.core.resources import Key
from app.kube.errors import ApiError
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import ENTRY_UIDS, Span, Tracer

log = logging.getLogger(__name__)

NAME = "emission"
"""What the queue and its reconciliations are called in metrics."""
BURST = 20
"""Keys that wait, or were written within a second, and make a burst: remediation is slower, and keeps its Events."""


class Workers:
    """`count` threads, and what they take note of: how long it took, what yields to others, what is to be told.

    They begin once `synced` and while `leading`.
    """

    def __init__(  # noqa: PLR0913 - who works, who is told, and when
        self,
        reconciler: Reconciler,
        narrator: Narrator,
        metrics: ControllerMetrics,
        tracer: Tracer,
        *,
        leading: threading.Event,
        synced: Callable[[], bool],
        count: int,
    ) -> None:
        self.queue = WorkQueue[Key](meter=metrics.queues.meter(NAME))
        self.latency = Latency(metrics.emission_latency, leading.is_set)
        self.conflicts = Conflicts()
        self._reconciler = reconciler
        self._narrator = narrator
        self._meter = metrics.reconciles.meter(NAME)
        self._tracer = tracer
        self._leading = leading
        self._synced = synced
        self._stopping = threading.Event()
        self._written = deque[float](maxlen=BURST)  # when
        self._settled = False  # whether every key was looked at since this replica leads
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(count)
        ]
        metrics.queues.watch(NAME, self.queue)

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def open(self) -> None:
        """Note that this replica leads from now on."""
        self._settled = False
        self.queue.open()

    def stop(self, seconds: float) -> None:
        """Begin nothing more; waits up to `seconds` for each thread that works."""
        self._stopping.set()
        self.queue.shut_down()
        self._leading.set()  # wakes those that wait for it
        for thread in self._threads:
            thread.join(seconds)

    def busy(self) -> bool:
        """Whether there is a burst: so much waits, or was written within the last second, that all else should wait."""
        written = tuple(self._written)
        fast = len(written) == BURST and time.monotonic() - written[0] < 1
        return fast or len(self.queue) >= BURST

    def _work(self) -> None:
        while not self._stopping.wait(0 if self._synced() else 0.1):
            key = self.queue.get(1.0) if self._synced() and self._leading.wait(1.0) else None
            if key is not None:
                self._handle(key)

    def _handle(self, key: Key) -> None:
        began, failed, since = time.monotonic(), True, self.latency.take(key)
        attributes = {"k8s.namespace.name": key.namespace, "serviceentry_guard.name": key.name}
        try:
            with self._tracer.working("reconcile", attributes) as span:
                done = self._reconciler.reconcile(key)
                _note(span, done)
            failed = False
        except ApiError as error:
            self._try_again(key, since, error)
        except Exception as error:
            log.exception("a bug in reconciling %s", key)
            self._try_again(key, since, error)
        else:
            self.queue.forget(key)
            self._take_note(key, since, done)
        finally:
            self._meter.done(began, failed=failed)
            self.queue.done(key)

    def _take_note(self, key: Key, since: float | None, done: Changes) -> None:
        if done.apply or done.delete:
            self._written.append(time.monotonic())
            self.latency.written(since)
        for conflict in self.conflicts.put(key, done.foreign):
            self._narrator.yielded(conflict, standing=not self._settled)
        self._settled = self._settled or not len(self.queue)

    def _try_again(self, key: Key, since: float | None, error: Exception) -> None:
        self.latency.put_back(key, since)
        self.queue.retry(key)
        log.warning("%s is tried again: %s", key, error)


def _note(span: Span, done: Changes) -> None:
    uids = dict.fromkeys(emitted.owner.uid for emitted, _ in done.apply)
    span.note(
        {
            ENTRY_UIDS: tuple(uids),
            "serviceentry_guard.applied": tuple(emitted.kind for emitted, _ in done.apply),
            "serviceentry_guard.deleted": tuple(stored.kind for stored in done.delete),
        }
    )
