"""Kubernetes Events about objects: without repetition, at a limited rate, and without ever raising."""

import hashlib
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from app.fairline import FairLine
from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists, ApiError
from app.kube.resources import Resource
from app.kube.timing import TokenBucket, micro_time

EVENT = Resource("events.k8s.io", "v1", "events", "Event")

_log = logging.getLogger(__name__)
_REFERENCE = ("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath")
_LONGEST_NOTE = 1024  # in bytes: the limit of the API
_DIGEST = 16
_LONGEST_NAME = 253 - 1 - _DIGEST
_CALL_SECONDS = 5.0
_STOP_SECONDS = 1.0
_YIELD_SECONDS = 1.0
_POLL_SECONDS = 0.1


class _Saying(NamedTuple):
    """What an Event says; the Event is made when its turn comes, because most Events of a burst are dropped."""

    regarding: Mapping[str, str]
    reason: str
    note: str
    type_: str
    action: str
    moment: datetime

    @property
    def namespace(self) -> str:
        """The namespace of the Event."""
        return self.regarding.get("namespace") or "default"

    @property
    def content(self) -> tuple[str, str, str]:
        """UID, reason and note: Events with the same content repeat each other."""
        return self.regarding.get("uid", ""), self.reason, self.note


class EventRecorder:
    """Writes `events.k8s.io/v1` Events from a thread of its own, for `component` running as `instance`.

    An Event that was written in the last `quiet` seconds (same UID, reason and note) is not written again; later it is
    a new Event. It writes at most `rate` Events per second after a first `burst`. Namespaces take turns. At most
    `backlog` Events wait; beyond that, the namespace with the most waiting Events loses its newest one. `dropped`
    counts these, and Events that the API server rejected.

    While `busy` returns True, an Event waits for up to a second, so that Events do not slow down a burst of writes.

    `standing` marks an Event about an older state. It is written after all others, and only if the cluster does not
    have the same Event from any writer. So a restart repeats nothing.
    """

    def __init__(  # noqa: PLR0913 - the reporter's identity and limits
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
        self._clock = clock
        self._waiting = FairLine[_Saying](backlog)
        self._standing = FairLine[_Saying](backlog)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write the waiting Events, within a second."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()
        self._thread.join(_STOP_SECONDS)

    def record(  # noqa: PLR0913 - the fields of an Event
        self,
        regarding: Mapping[str, str],
        reason: str,
        note: str,
        type_: Literal["Normal", "Warning"] = "Normal",
        *,
        action: str,
        standing: bool = False,
    ) -> None:
        """Write an Event with `note` about an object; returns immediately.

        `regarding` has the fields of an ObjectReference (apiVersion, kind, namespace, name, uid; others are ignored),
        `reason` is one CamelCase word, and `action` the action that was done or attempted.
        """
        note = note.encode()[:_LONGEST_NOTE].decode(errors="ignore")
        saying = _Saying(regarding, reason, note, type_, action, datetime.now(UTC))
        with self._changed:
            if self._memory.knows(saying.content):
                return
            line = self._standing if standing else self._waiting
            self.dropped += line.put(saying.namespace, saying) is not None
            self._changed.notify()

    def _event(self, saying: _Saying) -> Object:
        digest = hashlib.sha256("\0".join(saying.content).encode()).hexdigest()
        name = _name(saying.regarding["name"], digest)
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": saying.namespace, "name": name},
            "eventTime": micro_time(saying.moment),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "regarding": {field: saying.regarding[field] for field in _REFERENCE if field in saying.regarding},
            "reason": saying.reason,
            "note": saying.note,
            "type": saying.type_,
            "action": saying.action,
        }

    def _run(self) -> None:
        while waiting := self._next():
            self._handle(*waiting)

    def _handle(self, saying: _Saying, standing: bool) -> None:
        self._give_way()
        self._stopping.wait(self._pace.take())
        try:
            self._write(self._event(saying), standing=standing)
        except ApiError as error:
            self._give_up(saying, error)
        except Exception as error:
            _log.exception("unexpected error while writing an Event")
            self._give_up(saying, error)

    def _give_way(self) -> None:
        until = self._clock() + _YIELD_SECONDS
        while self._busy() and self._clock() < until:
            if self._stopping.wait(_POLL_SECONDS):
                return

    def _write(self, event: Object, *, standing: bool) -> None:
        """Create the Event.

        Its name is computed from its content, so an existing Event of that name has the same content.
        """
        try:
            self._client.create(EVENT, event, timeout=_CALL_SECONDS)
        except AlreadyExists:
            if not standing:
                again = {**event["metadata"], "name": _name(event["regarding"]["name"], uuid.uuid4().hex)}
                self._client.create(EVENT, {**event, "metadata": again}, timeout=_CALL_SECONDS)

    def _next(self) -> tuple[_Saying, bool] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._standing or self._stopping.is_set())
            if saying := self._waiting.take():
                return saying, False
            saying = None if self._stopping.is_set() else self._standing.take()
            return (saying, True) if saying else None

    def _give_up(self, saying: _Saying, error: Exception) -> None:
        with self._changed:
            self.dropped += 1
            self._memory.forget(saying.content)
        _log.info("Event not written: %s: %s", saying.note, error)


def _name(name: str, digest: str) -> str:
    return f"{name[:_LONGEST_NAME]}.{digest[:_DIGEST]}"


class Memory:
    """The Events of the last `quiet` seconds, at most `limit` of them."""

    def __init__(self, quiet: float, limit: int, clock: Callable[[], float]) -> None:
        self._quiet = quiet
        self._limit = limit
        self._clock = clock
        self._said: OrderedDict[Hashable, float] = OrderedDict()

    def forget(self, saying: Hashable) -> None:
        """Note that this Event was not written."""
        self._said.pop(saying, None)

    def knows(self, saying: Hashable) -> bool:
        """Whether this Event was written in the last `quiet` seconds; if not, it counts as written now."""
        now = self._clock()
        while self._said and next(iter(self._said.values())) + self._quiet <= now:
            self._said.popitem(last=False)
        if saying in self._said:
            return True
        if len(self._said) >= self._limit:
            self._said.popitem(last=False)
        self._said[saying] = now
        return False
