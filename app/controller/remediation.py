"""Existing entries: what was stored before admission was there is patched as admission would have, one at a time."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from app.controller.entry_events import Narrator
from app.controller.leadership import Leadership
from app.controller.worker import Worker
from app.controller.workqueue import WorkQueue
from app.core.event_catalogue import REMEDIATED, REMEDIATION_REFUSED, Notice
from app.core.resources.service_entry import JSON, Key, ServiceEntry
from app.core.rules.patch import Operation
from app.core.rules.resolution import RESOLVING
from app.kube.apply import locked
from app.kube.client import Client
from app.kube.errors import Forbidden, Invalid, NotFound
from app.kube.events import TokenBucket
from app.kube.resources import SERVICE_ENTRIES
from app.telemetry.logs import tell
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import ENTRY_UIDS, UNTRACED, Span, Tracer

log = logging.getLogger(__name__)

REMEDIATION = "remediation"
FIRST_RETRY, LAST_RETRY = 1.0, 600.0
"""Bounds of the back-off of an entry that the API server does not let us patch, in seconds."""

Repair = Callable[[ServiceEntry, JSON], Sequence[Operation]]
"""Says what to patch of a stored entry; nothing where it is as it should be, or where the policy only reports.

Its second argument is the entry as it was just read, None where it was not.
"""


class PatchRefused(Exception):
    """The API server did not take a patch, and will not until someone changes something."""


class Remediator:
    """Patches entries at no more than `rate` a second, from a thread and a queue of its own, while this replica leads.

    What is left to do follows from the entries alone, so a new leader goes on where the last one ended. An entry that
    is refused is tried again, less and less often.
    """

    def __init__(  # noqa: PLR0913 - whom to write to, whom to tell, what, when and how fast
        self,
        client: Client,
        narrator: Narrator,
        metrics: ControllerMetrics,
        repair: Repair,
        patched: Callable[[ServiceEntry], None] = lambda _entry: None,
        *,
        tracer: Tracer = UNTRACED,
        leadership: Leadership,
        rate: float,
    ) -> None:
        self._client = client
        self._narrator = narrator
        self._outcomes = metrics.remediations
        self._repair = repair
        self._patched = patched
        self._tracer = tracer
        self._pace = TokenBucket(rate, 1, time.monotonic)
        self._queue = WorkQueue[Key](
            group=lambda key: key.namespace,
            base=FIRST_RETRY,
            cap=LAST_RETRY,
            longest_pause=LAST_RETRY,
            meter=metrics.queues.meter(REMEDIATION),
        )
        metrics.queues.watch(REMEDIATION, self._queue)
        meter = metrics.reconciles.meter(REMEDIATION)
        self._worker = Worker(
            REMEDIATION, self._queue, self, leadership, meter, refusals=(Forbidden, Invalid, PatchRefused)
        )
        self._stored: dict[Key, ServiceEntry] = {}

    def start(self) -> None:
        """Begin to patch, once this replica leads."""
        self._worker.start()

    def stop(self, seconds: float) -> None:
        """Patch nothing more; waits up to `seconds` for a patch in flight."""
        self._worker.stop(seconds)

    def open(self) -> None:
        """Count from now on how long entries wait: another replica led until now."""
        self._queue.open()

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Take an entry as it is stored now, None if it is gone; returns at once."""
        if entry is None:
            self._stored.pop(key, None)
            return
        self._stored[key] = entry
        self.touch(entry)

    def touch(self, entry: ServiceEntry) -> None:
        """Look at an entry anew: one beside it has changed."""
        if self._repair(entry, None):
            self._queue.add(entry.key)

    def touch_keys(self, keys: Iterable[Key]) -> None:
        """Look at entries anew that share a host with one that changed."""
        for key in keys:
            if entry := self._stored.get(key):
                self.touch(entry)

    def reconsider(self) -> None:
        """Look at every entry anew: another policy is in force."""
        for entry in list(self._stored.values()):
            self.touch(entry)

    def wants(self, key: Key) -> bool:
        """Say whether an entry is still to be patched, once it may be."""
        entry = self._stored.get(key)
        if entry is None or not self._repair(entry, None):
            return False
        return not self._worker.stopping.wait(self._pace.take())

    def work(self, key: Key) -> None:
        """Patch an entry."""
        attributes = {"k8s.namespace.name": key.namespace, "serviceentry_guard.name": key.name}
        with suppress(NotFound), self._tracer.working("remediate", attributes) as span:
            self._remediate(key, span)

    def failed(self, key: Key, error: Exception) -> None:
        """Say that an entry is patched later."""
        self._outcomes.labels("failed").inc()
        log.warning("patching ServiceEntry %s failed, will retry: %s", key, error)

    def refused(self, key: Key, error: Exception) -> None:
        """Say, once for all entries of a namespace, that they are tried less and less often."""
        log.warning(
            "API server rejects patches in namespace %s; retrying with increasing delay: %s", key.namespace, error
        )

    def _remediate(self, key: Key, span: Span) -> None:
        """Patch an entry over what it is at this moment: the cache may be behind, and keeps no resource version."""
        document = self._client.get(SERVICE_ENTRIES, key.namespace, key.name)
        entry = ServiceEntry.parse(document)
        span.note({ENTRY_UIDS: (entry.uid,)})
        if patch := self._repair(entry, document):
            self._write(entry, locked(document, patch), patch[0]["value"])

    def _write(self, entry: ServiceEntry, patch: Sequence[Operation], resolution: str) -> None:
        try:
            stored = self._client.json_patch(SERVICE_ENTRIES, entry.key.namespace, entry.key.name, patch)
        except (Forbidden, Invalid) as error:
            raise self._refused(entry, error.message) from error
        if stored["spec"].get("resolution") != resolution:
            raise self._refused(entry, f"another webhook turns {resolution} back")
        self._patched(entry)
        self._outcomes.labels("patched").inc()
        line = {"namespace": entry.key.namespace, "name": entry.key.name, "resolution": resolution}
        tell(log, "remediated", line)
        note = f"resolution was {entry.resolution} and is {resolution} now: {_why(resolution)}"
        self._narrator.tell(entry, Notice(REMEDIATED, note))

    def _refused(self, entry: ServiceEntry, reason: str) -> PatchRefused:
        self._outcomes.labels("failed").inc()
        note = f"resolution stays {entry.resolution}: {reason}"
        self._narrator.tell(entry, Notice(REMEDIATION_REFUSED, note))
        return PatchRefused(reason)


def _why(resolution: str) -> str:
    if resolution in RESOLVING:
        return "the policy says existing: Remediate"
    return "an entry of the namespace that names the same host keeps this resolution, and Istio merges the two"
