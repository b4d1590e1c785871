"""A local copy of one resource, kept up to date by list and watch."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from app.kube.client import Client, Object
from app.kube.errors import ApiError, Forbidden, Gone, NotFound, Unreachable
from app.kube.resources import Resource
from app.kube.stream import WatchEvent, WatchStream
from app.kube.timing import CLOCK, Clock, backoff, jittered

T = TypeVar("T")
ObjectKey = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""

_log = logging.getLogger(__name__)
_BACKOFF_BASE = 0.5
_BACKOFF_CAP = 10.0
_PAGE = 500
_SHORTEST_WATCH = 1.0
_STOP_SECONDS = 1.0
_ABSENT_SECONDS = 30.0
"""Pause until the next check for an optional resource that the cluster does not serve."""


class Reflector(Generic[T]):
    """Follows `resource` in `namespace` (None: all) in its own thread.

    `transform` turns each raw object into the object that is stored; the raw object is dropped. `on_change(key, old,
    new)` is called from that thread after `store` has changed: `old` is None for an object that is new, `new` is None
    for one that is gone. Objects whose stored form did not change are skipped, also after a new list. Changes during a
    disconnection are delivered after reconnecting, deletes included.

    `store` may be read from any thread; copy it before iterating (`list(reflector.store.values())`). A resource that
    is `optional` counts as empty while the cluster does not serve it, or does not let it be listed. `watch_seconds` is
    the range of the random watch timeout. `on_restart` gets the reason of each restart: `ended` (normal), `expired`
    (the resource is listed again) or `failed`.
    """

    def __init__(  # noqa: PLR0913 - the resource and the callbacks
        self,
        client: Client,
        resource: Resource,
        transform: Callable[[Object], T],
        on_change: Callable[[ObjectKey, T | None, T | None], None],
        *,
        namespace: str | None = None,
        optional: bool = False,
        watch_seconds: tuple[int, int] = (240, 300),
        on_restart: Callable[[str], None] = lambda _reason: None,
        clock: Clock = CLOCK,
    ) -> None:
        self.store: dict[ObjectKey, T] = {}
        self._client = client
        self._resource = resource
        self._transform = transform
        self._on_change = on_change
        self._namespace = namespace
        self._optional = optional
        self._absent = ""  # why the optional resource counts as empty
        self._watch_seconds = watch_seconds
        self._on_restart = on_restart
        self._resource_version = ""
        self._failures = 0
        self._clock = clock
        self._active = clock()
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._stream: WatchStream | None = None
        self._thread = threading.Thread(target=self._run, name=f"reflector-{resource.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make no more callbacks. Takes at most a second: a list in progress ends by its own timeout."""
        self._stopping.set()
        if self._stream:
            self._stream.close()
        self._thread.join(_STOP_SECONDS)

    @property
    def has_synced(self) -> bool:
        """Whether a complete list was loaded at least once."""
        return self._synced.is_set()

    def wait_synced(self, timeout: float | None = None) -> bool:
        """`has_synced`, after waiting for it for up to `timeout` seconds."""
        return self._synced.wait(timeout)

    @property
    def age(self) -> float:
        """Seconds since the last event of the API server.

        If nothing changes at all, not even bookmarks come, so this counts from the start of the watch. So a healthy
        connection may be silent for as long as the longest watch.
        """
        return self._clock() - self._active

    def step(self) -> float:
        """Follow the resource until the watch ends or fails; returns the seconds to wait before the next step."""
        try:
            self._follow()
        except Gone as error:
            self._resource_version = ""
            return self._fail(logging.INFO, error, "expired")
        except (NotFound, Forbidden) as error:
            return self._note_absent(error) if self._optional else self._fail(logging.WARNING, error)
        except ApiError as error:
            return self._fail(logging.WARNING, error)
        except Exception as error:
            # A bug in a callback must not end the thread silently: the same change is delivered again.
            return self._fail(logging.ERROR, error, traceback=True)
        if not self._stopping.is_set():
            self._on_restart("ended")
        return 0.0

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.step())

    def _fail(self, level: int, error: Exception, reason: str = "failed", *, traceback: bool = False) -> float:
        if self._stopping.is_set():
            return 0.0
        self._on_restart(reason)
        self._failures += 1
        seconds = backoff(self._failures, _BACKOFF_BASE, _BACKOFF_CAP)
        _log.log(
            level,
            "watching %s failed, retrying in %.1f s: %s",
            self._resource.plural,
            seconds,
            error,
            exc_info=error if traceback else None,
        )
        return seconds

    def _note_absent(self, error: ApiError) -> float:
        """Treat an optional resource as empty, log it once, and check again later."""
        reason = type(error).__name__
        if reason != self._absent:
            level = logging.WARNING if isinstance(error, Forbidden) else logging.INFO
            _log.log(level, "not watching %s: %s", self._resource.plural, error)
        self._absent, self._resource_version = reason, ""
        for key in list(self.store):
            self._change(key, None)
        self._active = self._clock()
        self._synced.set()
        return _ABSENT_SECONDS

    def _follow(self) -> None:
        if self._resource_version and self._failures:
            self._check_history()
        if not self._resource_version:
            self._list()
        if not self._stopping.is_set():
            self._watch()

    def _check_history(self) -> None:
        """Raise Gone if the cluster has gone back to an earlier state, as etcd has after a restore from a snapshot.

        A watch from a version that the API server has not reached yet is silent until it is reached, and what differs
        until then is never delivered. A restore interrupts every API server, so it is enough to check after a failure.
        """
        latest = self._client.list_page(self._resource, self._namespace, limit=1).resource_version
        if is_behind(latest, self._resource_version):
            seen = self._resource_version
            raise Gone(410, "Expired", f"the API server is at version {latest}, and version {seen} was observed")

    def _list(self) -> None:
        # client-go lists at resourceVersion=0 to spare etcd the kubelets of a whole cluster, and may be shown
        # a state older than one it has seen. We are one client whose writes follow from what it sees: an empty
        # version is the latest state, at the start and after 410 alike, and is sent in pages.
        present: set[ObjectKey] = set()
        continue_ = ""
        while True:
            page = self._client.list_page(self._resource, self._namespace, limit=_PAGE, continue_=continue_)
            if self._stopping.is_set():
                return
            self._active = self._clock()
            for item in page:
                key = _key(item)
                present.add(key)
                self._change(key, self._transform(item))
            continue_ = page.continue_
            if not continue_:
                break
        for key in self.store.keys() - present:
            self._change(key, None)
        # All pages are of this one version, so a watch from it misses nothing.
        self._resource_version, self._absent = page.resource_version, ""
        self._synced.set()

    def _watch(self) -> None:
        seconds = round(jittered(*self._watch_seconds))
        began = self._clock()
        self._stream = self._client.watch(
            self._resource, self._resource_version, namespace=self._namespace, timeout_seconds=seconds
        )
        if self._stopping.is_set():
            self._stream.close()
        self._active = self._clock()
        events = 0
        for event in self._stream:
            if self._stopping.is_set():
                return
            self._take(event)
            events += 1
        if not events and self._clock() - began < _SHORTEST_WATCH:
            raise Unreachable("the API server ended the watch immediately")
        self._failures = 0

    def _take(self, event: WatchEvent) -> None:
        self._active = self._clock()
        if event.type == "DELETED":
            self._change(_key(event.object), None)
        elif event.type != "BOOKMARK":
            self._change(_key(event.object), self._transform(event.object))
        self._resource_version = event.object["metadata"]["resourceVersion"]
        self._failures = 0

    def _change(self, key: ObjectKey, new: T | None) -> None:
        old = self.store.get(key)
        if old == new:
            return
        self._put(key, new)
        try:
            self._on_change(key, old, new)
        except BaseException:
            self._put(key, old)
            raise

    def _put(self, key: ObjectKey, value: T | None) -> None:
        if value is None:
            self.store.pop(key, None)
        else:
            self.store[key] = value


def is_behind(latest: str, seen: str) -> bool:
    """Say whether a resource version is older than another one; they are numbers in etcd's order, or unknown."""
    return latest.isdecimal() and seen.isdecimal() and int(latest) < int(seen)


def _key(item: Object) -> ObjectKey:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
