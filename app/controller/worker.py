"""The loop of all that only the leader does: threads that make step after step while this replica leads.

`Worker` takes keys from a queue: what fails is tried again, and a group of keys that the API server refuses is tried
less and less often. `LeaderTask` has no keys: it makes one pass over everything, again and again.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from app.controller.leadership import Leadership
from app.controller.workqueue import WorkQueue
from app.kube.errors import ApiError, Fenced, Forbidden, Invalid
from app.kube.timing import backoff
from app.telemetry.instruments import ReconcileMeter, ReconcileResult

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
C_contra = TypeVar("C_contra", bound=Hashable, contravariant=True)

WAIT_SECONDS = 1.0
"""Longest time until a thread looks again whether it is to work."""
READY_SECONDS = 0.1
FIRST_RETRY, LAST_RETRY = 0.5, 5.0
"""Bounds of the back-off after passes that failed, in seconds."""


class Loop:
    """Threads that call `step` while this replica leads, and `prepare` says that they may."""

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        leadership: Leadership,
        *,
        prepare: Callable[[], bool] = lambda: True,
        threads: int = 1,
    ) -> None:
        self.stopping = threading.Event()
        self._step = step
        self._leadership = leadership
        self._prepare = prepare
        names = [name] if threads == 1 else [f"{name}-{number}" for number in range(threads)]
        self._threads = [threading.Thread(target=self._run, name=each, daemon=True) for each in names]

    def start(self) -> None:
        """Begin, once this replica leads."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Begin no more steps; waits up to `seconds` for those that are under way."""
        self._leadership.stop(self.stopping)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(seconds)

    def _run(self) -> None:
        while not self.stopping.is_set():
            if not self._leadership.wait(self.stopping, WAIT_SECONDS):
                continue
            if self._prepare():
                self._step()
            else:
                self.stopping.wait(READY_SECONDS)


class Work(Protocol[C_contra]):
    """What a worker does with keys."""

    def wants(self, key: C_contra) -> bool:
        """Say whether there is anything to do about a key; what takes its time here is no part of the work."""
        ...

    def work(self, key: C_contra) -> None:
        """Do it; raises ApiError, or any other exception for a bug."""
        ...

    def failed(self, key: C_contra, error: Exception) -> None:
        """Take note of an attempt that failed and is made again."""
        ...

    def refused(self, key: C_contra, error: Exception) -> None:
        """Take note that the API server refuses what is written for a key, the first of its group for a while."""
        ...


class Worker(Generic[K]):
    """Takes keys from a queue and has them worked on. `refusals` are the errors that hold for a group of keys."""

    def __init__(  # noqa: PLR0913 - what is done, by whom, and when
        self,
        name: str,
        queue: WorkQueue[K],
        work: Work[K],
        leadership: Leadership,
        meter: ReconcileMeter,
        *,
        prepare: Callable[[], bool] = lambda: True,
        refusals: tuple[type[Exception], ...] = (Forbidden, Invalid),
        threads: int = 1,
    ) -> None:
        self._name = name
        self._queue = queue
        self._work = work
        self._meter = meter
        self._refusals = refusals
        self._loop = Loop(name, self._step, leadership, prepare=prepare, threads=threads)

    @property
    def stopping(self) -> threading.Event:
        """Is set once no more work is to begin."""
        return self._loop.stopping

    def start(self) -> None:
        """Begin, once this replica leads."""
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Begin nothing more; waits up to `seconds` for what is under way."""
        self._queue.shut_down()
        self._loop.stop(seconds)

    def _step(self) -> None:
        key = self._queue.get(WAIT_SECONDS)
        if key is not None:
            try:
                self._handle(key)
            finally:
                self._queue.done(key)

    def _handle(self, key: K) -> None:
        try:
            if self._work.wants(key):
                self._measured(key)
        except Fenced:
            self._queue.retry(key)  # the next leader has it as well
        except Exception as error:
            self._fail(key, error)
        else:
            self._queue.forget(key)

    def _measured(self, key: K) -> None:
        began, result = time.monotonic(), ReconcileResult.ERROR
        try:
            self._work.work(key)
            result = ReconcileResult.SUCCESS
        except (Forbidden, Invalid):
            result = ReconcileResult.REFUSED
            raise
        finally:
            self._meter.done(began, result)

    def _fail(self, key: K, error: Exception) -> None:
        if isinstance(error, self._refusals):
            if self._queue.refuse(key):
                self._work.refused(key, error)
            log.debug("%s of %s rejected: %s", self._name, key, error)
            return
        if not isinstance(error, ApiError):
            log.error("unexpected error in %s of %s; will retry", self._name, key, exc_info=error)
        self._queue.retry(key)
        self._work.failed(key, error)


class LeaderTask:
    """Calls `check` again and again: one pass, which returns the seconds until the next.

    A pass looks at everything anew, so that one that fails, or never ends, is made up for by the next; `failed` is
    told of it. It may not write but through a fenced client.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[], float],
        leadership: Leadership,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._check = check
        self._failed = failed
        self._failures = 0
        self._loop = Loop(name, self._step, leadership)

    def start(self) -> None:
        """Begin, once this replica leads."""
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Begin no more passes; waits up to `seconds` for one that is under way."""
        self._loop.stop(seconds)

    def _step(self) -> None:
        self._loop.stopping.wait(self._pass())

    def _pass(self) -> float:
        try:
            seconds = self._check()
        except Exception as error:
            return self._fail(error)
        self._failures = 0
        return seconds

    def _fail(self, error: Exception) -> float:
        self._failures += 1
        seconds = backoff(self._failures, FIRST_RETRY, LAST_RETRY)
        if isinstance(error, Fenced):
            return seconds
        self._failed()
        if isinstance(error, ApiError):
            log.warning("%s failed, retrying in %.1f s: %s", self._name, seconds, error)
        else:
            log.error("unexpected error in %s, retrying in %.1f s", self._name, seconds, exc_info=error)
        return seconds
