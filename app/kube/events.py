"""Kubernetes Events about objects: told once, told slowly, and never a reason to fail."""

import hashlib
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Literal

from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists, ApiError
from app.kube.fairline import FairLine
from app.kube.resources import Resource
from app.kube.timestamp import micro_time

EVENT = Resource("events.k8s.io", "v1", "events", "Event")

_log = logging.getLogger(__name__)
_REFERENCE = ("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath")
_LONGEST_NOTE = 1024  # in bytes: the API refuses more
_DIGEST = 16
_LONGEST_NAME = 253 - 1 - _DIGEST
_CALL_SECONDS = 5.0
_STOP_SECONDS = 1.0
_YIELD_SECONDS = 1.0
_POLL_SECONDS = 0.1


class EventRecorder:
    """Writes `events.k8s.io/v1` Events from a thread of its own, for `component` running as `instance`.

    What was told of an object in the last `quiet` seconds (same UID, reason and note) is left out; later it is a
    new Event. Writing is paced to `rate` Events a second after a first `burst`. Namespaces take turns; up to `backlog`
    Events wait, and of more the namespace with the most of them gives up its last. That, and what the API server does
    not take, is counted in `dropped`.

    While `busy` says that there is more pressing work, an Event waits for up to a second: a burst of writes does not
    share the API server with what is only told of it, and is told of afterwards.

    What has been so for longer, as far as is known, is told as `standing`: after all else, and not again while an
    Event that says it is in the cluster, whoever wrote that. So a restart repeats nothing.
    """

    def __init__(  # noqa: PLR0913 - who reports, and every limit
        self,
        client: Client,
        component: str,
        instance: str,
        *,
        rate: float = 10.0,
        burst: int = 50,
        backlog: int = 1000,
        quiet: float = 600.0,
        busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self._client = client
        self._component = component
        self._instance = instance
        self._pace = TokenBucket(rate, burst, clock)
        self._memory = Memory(quiet, 4 * backlog, clock)
        self._busy = busy
        self._waiting = FairLine[Object](backlog)
        self._standing = FairLine[Object](backlog)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, within a second."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()
        self._thread.join(_STOP_SECONDS)

    def record(  # noqa: PLR0913 - what an Event says, and how pressing it is
        self,
        regarding: Mapping[str, str],
        reason: str,
        note: str,
        type_: Literal["Normal", "Warning"] = "Normal",
        *,
        action: str,
        standing: bool = False,
    ) -> None:
        """Say `note` of an object; returns at once.

        `regarding` has the fields of an ObjectReference (apiVersion, kind, namespace, name, uid; others are left
        out), `reason` says in one CamelCase word why, and `action` what was done or attempted.
        """
        with self._changed:
            if self._memory.knows((regarding.get("uid"), reason, note)):
                return
            event = self._event(regarding, reason, note, type_, action)
            line = self._standing if standing else self._waiting
            self.dropped += line.put(event["metadata"]["namespace"], event)
            self._changed.notify()

    def _event(self, regarding: Mapping[str, str], reason: str, note: str, type_: str, action: str) -> Object:
        said = "\0".join((regarding.get("uid", ""), reason, note))
        name = _name(regarding["name"], hashlib.sha256(said.encode()).hexdigest())
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": regarding.get("namespace") or "default", "name": name},
            "eventTime": micro_time(),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "regarding": {field: regarding[field] for field in _REFERENCE if field in regarding},
            "reason": reason,
            "note": note.encode()[:_LONGEST_NOTE].decode(errors="ignore"),
            "type": type_,
            "action": action,
        }

    def _run(self) -> None:
        while told := self._next():
            event, standing = told
            self._give_way()
            self._stopping.wait(self._pace.take())
            try:
                self._write(event, standing=standing)
            except ApiError as error:
                self._give_up(event, error)
            except Exception as error:
                _log.exception("unexpected error while writing an Event")
                self._give_up(event, error)

    def _give_way(self) -> None:
        until = time.monotonic() + _YIELD_SECONDS
        while self._busy() and time.monotonic() < until:
            if self._stopping.wait(_POLL_SECONDS):
                return

    def _write(self, event: Object, *, standing: bool) -> None:
        """Create the Event. Its name follows from what it says; one that is there by that name was told before."""
        try:
            self._client.create(EVENT, event, timeout=_CALL_SECONDS)
        except AlreadyExists:
            if not standing:
                again = {**event["metadata"], "name": _name(event["regarding"]["name"], uuid.uuid4().hex)}
                self._client.create(EVENT, {**event, "metadata": again}, timeout=_CALL_SECONDS)

    def _next(self) -> tuple[Object, bool] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._standing or self._stopping.is_set())
            if event := self._waiting.take():
                return event, False
            event = None if self._stopping.is_set() else self._standing.take()
            return (event, True) if event else None

    def _give_up(self, event: Object, error: Exception) -> None:
        with self._changed:
            self.dropped += 1
        _log.info("Event not written: %s: %s", event["note"], error)


def _name(name: str, digest: str) -> str:
    return f"{name[:_LONGEST_NAME]}.{digest[:_DIGEST]}"


class TokenBucket:
    """`rate` tokens a second, of which up to `burst` can be saved; full at first."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled = clock()

    def take(self) -> float:
        """Take a token, and return for how many seconds to wait because it was not there yet."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate) - 1
        self._filled = now
        return max(0.0, -self._tokens / self._rate)


class Memory:
    """What was said in the last `quiet` seconds, but no more than `limit` of it."""

    def __init__(self, quiet: float, limit: int, clock: Callable[[], float]) -> None:
        self._quiet = quiet
        self._limit = limit
        self._clock = clock
        self._said: OrderedDict[Hashable, float] = OrderedDict()

    def knows(self, saying: Hashable) -> bool:
        """Whether this was said in the last `quiet` seconds; if not, it is said now."""
        now = self._clock()
        while self._said and next(iter(self._said.values())) + self._quiet <= now:
            self._said.popitem(last=False)
        if saying in self._said:
            return True
        if len(self._said) >= self._limit:
            self._said.popitem(last=False)
        self._said[saying] = now
        return False
