"""Remediation: it patches stored entries, one at a time, as admission would have patched them."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from app.controller.entry_events import EntryEvents
from app.controller.leadership import Leadership
from app.controller.worker import Worker
from app.controller.workqueue import WorkQueue
from app.core.event_catalogue import REMEDIATED, REMEDIATION_REFUSED, Notice
from app.core.resources.fields import JSON
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.patch import Operation
from app.core.rules.resolution import RESOLVING
from app.kube.apply import locked
from app.kube.client import Client
from app.kube.errors import Forbidden, Invalid, NotFound
from app.kube.resources import SERVICE_ENTRIES
from app.kube.timing import CLOCK, Clock, TokenBucket
from app.telemetry.logs import tell
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import ENTRY_UIDS, UNTRACED, Span, Tracer

log = logging.getLogger(__name__)

REMEDIATION = "remediation"
FIRST_RETRY, LAST_RETRY = 1.0, 600.0
"""Bounds of the delay after the API server rejected a patch of an entry, in seconds."""


class Repairs(Protocol):
    """Decides which stored entries are patched."""

    def repair(self, entry: ServiceEntry, document: JSON = None) -> Sequence[Operation]:
        """Return the patch of a stored entry; empty if it needs none, or if the policy only reports.

        `document` is the manifest that the API server has just returned; None if only the cached entry is known.
        """
        ...

    def patched(self, entry: ServiceEntry) -> None:
        """Note that an entry was patched."""
        ...

    def reason(self, entry: ServiceEntry) -> str:
        """Say in an Event why the resolution of an entry was restored."""
        ...


class PatchRefused(Exception):
    """The API server did not accept a patch, and will not do so until something changes."""


class Remediator:
    """Patches at most `rate` entries per second, in its own thread and queue, while this replica leads.

    The remaining work follows from the entries, so a new leader continues where the last one ended. A rejected entry
    is retried with increasing delay.
    """

    def __init__(  # noqa: PLR0913 - its dependencies and limits
        self,
        client: Client,
        events: EntryEvents,
        metrics: ControllerMetrics,
        repairs: Repairs,
        *,
        tracer: Tracer = UNTRACED,
        leadership: Leadership,
        rate: float,
        clock: Clock = CLOCK,
    ) -> None:
        self._client = client
        self._events = events
        self._outcomes = metrics.remediations
        self._repairs = repairs
        self._tracer = tracer
        self._pace = TokenBucket(rate, 1, clock)
        self._queue = WorkQueue[Key](
            group=lambda key: key.namespace,
            base=FIRST_RETRY,
            cap=LAST_RETRY,
            longest_pause=LAST_RETRY,
            clock=clock,
            meter=metrics.queues.meter(REMEDIATION),
        )
        metrics.queues.watch(REMEDIATION, self._queue)
        meter = metrics.reconciles.meter(REMEDIATION)
        self._worker = Worker(
            REMEDIATION, self._queue, self, leadership, meter, refusals=(Forbidden, Invalid, PatchRefused)
        )
        self._stored: dict[Key, ServiceEntry] = {}

    def start(self) -> None:
        """Start. Patching begins when this replica becomes the leader."""
        self._worker.start()

    def stop(self, seconds: float) -> None:
        """Stop patching; waits up to `seconds` for a patch in progress."""
        self._worker.stop(seconds)

    def open(self) -> None:
        """Restart the waiting time of entries, because another replica led until now."""
        self._queue.open()

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Process an entry as it is stored now, None if it was deleted; returns immediately."""
        if entry is None:
            self._stored.pop(key, None)
            return
        self._stored[key] = entry
        self.touch(entry)

    def touch(self, entry: ServiceEntry) -> None:
        """Check an entry again, because a sibling has changed."""
        if self._repairs.repair(entry):
            self._queue.add(entry.key)

    def touch_keys(self, keys: Iterable[Key]) -> None:
        """Check entries again that share a host with a changed entry."""
        for key in keys:
            if entry := self._stored.get(key):
                self.touch(entry)

    def reconsider(self) -> None:
        """Check every entry again, because the policy has changed."""
        for entry in list(self._stored.values()):
            self.touch(entry)

    def wants(self, key: Key) -> bool:
        """Say whether an entry still needs a patch, after waiting for the rate limit."""
        entry = self._stored.get(key)
        if entry is None or not self._repairs.repair(entry):
            return False
        return not self._worker.stopping.wait(self._pace.take())

    def work(self, key: Key) -> None:
        """Patch an entry."""
        attributes = {"k8s.namespace.name": key.namespace, "serviceentry_guard.name": key.name}
        with suppress(NotFound), self._tracer.working("remediate", attributes) as span:
            self._remediate(key, span)

    def failed(self, key: Key, error: Exception) -> None:
        """Log that patching an entry failed."""
        self._outcomes.labels("failed").inc()
        log.warning("patching ServiceEntry %s failed, will retry: %s", key, error)

    def refused(self, key: Key, error: Exception) -> None:
        """Log, once for a namespace, that the API server rejects patches there."""
        log.warning(
            "API server rejects patches in namespace %s; retrying with increasing delay: %s", key.namespace, error
        )

    def _remediate(self, key: Key, span: Span) -> None:
        """Read an entry and patch this version, because the cache may be stale and keeps no resource version."""
        document = self._client.get(SERVICE_ENTRIES, key.namespace, key.name)
        entry = ServiceEntry.parse(document)
        span.note({ENTRY_UIDS: (entry.uid,)})
        if patch := self._repairs.repair(entry, document):
            self._write(entry, locked(document, patch), patch[0]["value"])

    def _write(self, entry: ServiceEntry, patch: Sequence[Operation], resolution: str) -> None:
        try:
            stored = self._client.json_patch(SERVICE_ENTRIES, entry.key.namespace, entry.key.name, patch)
        except (Forbidden, Invalid) as error:
            raise self._refused(entry, error.message) from error
        if stored["spec"].get("resolution") != resolution:
            raise self._refused(entry, f"another webhook reverted resolution {resolution}")
        self._repairs.patched(entry)
        self._outcomes.labels("patched").inc()
        line = {"namespace": entry.key.namespace, "name": entry.key.name, "resolution": resolution}
        tell(log, "remediated", line)
        note = f"resolution was {entry.resolution} and is {resolution} now: {self._why(entry, resolution)}"
        self._events.tell(entry, Notice(REMEDIATED, note))

    def _refused(self, entry: ServiceEntry, reason: str) -> PatchRefused:
        self._outcomes.labels("failed").inc()
        note = f"resolution stays {entry.resolution}: {reason}"
        self._events.tell(entry, Notice(REMEDIATION_REFUSED, note))
        return PatchRefused(reason)

    def _why(self, entry: ServiceEntry, resolution: str) -> str:
        return "the policy says existing: Remediate" if resolution in RESOLVING else self._repairs.reason(entry)
