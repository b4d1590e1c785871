"""The one loop of all leader's work: threads that do step after step while this replica leads.

`Worker` takes keys from a queue. Failed keys are retried, and a group of keys whose writes the API server rejects is
retried with increasing delay. `LeaderTask` has no keys: it repeats one pass over everything.
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
"""Maximum time until a thread checks again whether it should work, in seconds."""
READY_SECONDS = 0.1
FIRST_RETRY, LAST_RETRY = 0.5, 5.0
"""Bounds of the delay after failed passes, in seconds."""


class Loop:
    """Threads that call `step` while this replica leads and `prepare` returns True."""

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
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
        """Start. The work begins when this replica becomes the leader."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Stop; waits up to `seconds` for steps in progress."""
        self._leadership.stop(self.stopping)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(seconds)

    def _run(self) -> None:
        while not self.stopping.is_set():
            if not self._leadership.wait(self.stopping, WAIT_SECONDS):
                continue
            try:
                self._turn()
            except Exception:
                # A thread that ends would leave a leader that does nothing. What it worked on is in its queue.
                log.exception("unexpected error in thread %s; it goes on", threading.current_thread().name)
                self.stopping.wait(WAIT_SECONDS)

    def _turn(self) -> None:
        if self._prepare():
            self._step()
        else:
            self.stopping.wait(READY_SECONDS)


class Work(Protocol[C_contra]):
    """The work of a worker on its keys."""

    def wants(self, key: C_contra) -> bool:
        """Say whether a key needs work. The time that this takes does not count as work."""
        ...

    def work(self, key: C_contra) -> None:
        """Do the work; raises ApiError, or any other exception for a bug."""
        ...

    def failed(self, key: C_contra, error: Exception) -> None:
        """Handle a failed attempt, which will be retried."""
        ...

    def refused(self, key: C_contra, error: Exception) -> None:
        """Handle the first rejection of a write in a group of keys."""
        ...


class Worker(Generic[K]):
    """Takes keys from a queue and passes them to `work`. `refusals` are errors that apply to a whole group of keys."""

    def __init__(  # noqa: PLR0913 - its dependencies
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
        self._loop = Loop(name, self.step, leadership, prepare=prepare, threads=threads)

    @property
    def stopping(self) -> threading.Event:
        """Set when no more work may begin."""
        return self._loop.stopping

    def start(self) -> None:
        """Start. The work begins when this replica becomes the leader."""
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Stop; waits up to `seconds` for work in progress."""
        self._queue.shut_down()
        self._loop.stop(seconds)

    def step(self, seconds: float = WAIT_SECONDS) -> bool:
        """Handle the next key; False if none came within `seconds`."""
        key = self._queue.get(seconds)
        if key is None:
            return False
        try:
            self._handle(key)
        finally:
            self._queue.done(key)
        return True

    def _handle(self, key: K) -> None:
        try:
            if self._work.wants(key):
                self._measured(key)
        except Fenced:
            self._queue.retry(key)  # the next leader also has this key
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
    """Calls `check` repeatedly: one pass, which returns the seconds until the next.

    Each pass checks everything, so the next pass makes up for a failed one. `failed` is called after a failure. A pass
    may write only through a fenced client.
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
        """Start. The work begins when this replica becomes the leader."""
        self._loop.start()

    def stop(self, seconds: float) -> None:
        """Stop; waits up to `seconds` for a pass in progress."""
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
