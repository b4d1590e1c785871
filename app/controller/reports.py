"""PolicyReports: the state of the ServiceEntries of each namespace, for existing policy dashboards."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.worker import Worker
from app.controller.workqueue import WorkQueue
from app.core.policy_report import contested, digest, report, results, since
from app.core.resources.fields import JSON
from app.core.resources.service_entry import MANAGER, Key, ServiceEntry
from app.core.routes.plan import keys
from app.core.rules.findings import Finding
from app.core.rules.verdict import Judge, review
from app.kube.apply import OUR_OBJECTS, apply_over, delete_seen, list_all
from app.kube.client import Client, Object
from app.kube.errors import ApiError, Forbidden, NotFound, WriteConflict
from app.kube.resources import REPORTS, Resource
from app.kube.timing import CLOCK, Clock
from app.policyfile import PolicyFile
from app.telemetry.metrics import ControllerMetrics

log = logging.getLogger(__name__)

REPORTING = "reports"
DELAY = 5.0
"""Seconds from a change in a namespace until its report is written, with all changes of these seconds."""
SURVEY_SECONDS = 60.0
"""Seconds between two checks for the report kinds of the cluster."""
LIST_SECONDS = 600.0
"""Seconds between two lists of reports, so the maximum time until an edited or deleted report is restored."""
FIRST_RETRY, LAST_RETRY = 1.0, 300.0
REST = 20.0
"""Pause after a report, as a multiple of the time that it took: no namespace uses more than 5 % of the time."""
PAGE = 50
"""Reports per page of a list; a report may have one megabyte."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A stored report of the guard: its version, its content, and the time of each result."""

    uid: str
    resource_version: str
    digest: bytes
    since: Mapping[int, int]

    @classmethod
    def parse(cls, stored: Object) -> "_Known":
        metadata = stored["metadata"]
        return cls(metadata["uid"], metadata["resourceVersion"], digest(stored), since(stored))


class Reporter:
    """Keeps one report for each namespace, in its own thread and queue, while this replica leads.

    Reports follow from the observed objects, so a new leader continues where the last one ended. Nothing is written
    until `synced` returns True. It does nothing if the cluster has no report CRD, or if it is not `enabled`.
    """

    def __init__(  # noqa: PLR0913 - its dependencies and intervals
        self,
        client: Client,
        inventory: Inventory,
        policy: PolicyFile,
        metrics: ControllerMetrics,
        *,
        leadership: Leadership,
        synced: Callable[[], bool],
        judge: Judge = review,
        also: Callable[[ServiceEntry], tuple[Finding, ...]] = lambda _entry: (),
        enabled: bool = True,
        delay: float = DELAY,
        survey_seconds: float = SURVEY_SECONDS,
        clock: Clock = CLOCK,
    ) -> None:
        self._client = client
        self._inventory = inventory
        self._policy = policy
        self._synced = synced
        self._judge = judge
        self._also = also
        self._enabled = enabled
        self._delay = delay
        self._survey_seconds = survey_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, dict[str, ServiceEntry]] = {}
        self._kind: Resource | None = None
        self._known: dict[str, _Known] = {}
        self._survey_due = 0.0
        self._list_due = 0.0
        self._forbidden = set[Resource]()
        self._queue = _queue(metrics, clock)
        if enabled:
            metrics.queues.watch(REPORTING, self._queue)
        self._took: dict[str, float] = {}
        meter = metrics.reconciles.meter(REPORTING)
        self._worker = Worker(REPORTING, self._queue, self, leadership, meter, prepare=self._prepare)

    def start(self) -> None:
        """Start. The work begins when this replica becomes the leader."""
        if self._enabled:
            self._worker.start()

    def stop(self, seconds: float) -> None:
        """Stop writing; waits up to `seconds` for a write in progress."""
        self._worker.stop(seconds)

    def open(self) -> None:
        """List the reports again, because this replica has become the leader."""
        self._queue.open()
        self._survey_due = self._list_due = 0.0

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Process an entry, None if it was deleted."""
        with self._lock:
            entries = self._entries.setdefault(key.namespace, {})
            if entry:
                entries[key.name] = entry
            else:
                entries.pop(key.name, None)
            if not entries:
                del self._entries[key.namespace]
                self._took.pop(key.namespace, None)
        self.touch(key.namespace)

    def touch(self, namespace: str) -> None:
        """Note a change that affects the report of a namespace."""
        if self._enabled:
            self._queue.add_after(namespace, max(self._delay, REST * self._took.get(namespace, 0.0)))

    def reconsider(self) -> None:
        """Note that the policy has changed."""
        with self._lock:
            namespaces = list(self._entries)
        for namespace in namespaces:
            self.touch(namespace)

    def wants(self, namespace: str) -> bool:  # noqa: ARG002 - every namespace is written
        """Say whether reports are written."""
        return self._kind is not None

    def work(self, namespace: str) -> None:
        """Update a report."""
        began = self._clock()
        if self._kind:
            self._bring_up_to_date(self._kind, namespace)
        self._took[namespace] = self._clock() - began

    def failed(self, namespace: str, error: Exception) -> None:
        """Log that writing a report failed."""
        if isinstance(error, (WriteConflict, NotFound)):  # the reports differ from what was listed
            self._survey_due = self._list_due = 0.0
        log.warning("writing the PolicyReport of namespace %s failed, will retry: %s", namespace, error)

    def refused(self, namespace: str, error: Exception) -> None:
        """Log that the API server rejected a report."""
        self.failed(namespace, error)

    def _prepare(self) -> bool:
        """Find the report kinds of the cluster, when all entries are known."""
        if self._synced():
            self._survey_if_due()
            return True
        return False

    def _survey_if_due(self) -> None:
        now = self._clock()
        if now < self._survey_due:
            return
        self._survey_due = now + self._survey_seconds
        try:
            self._survey(now)
        except ApiError as error:
            self._survey_due = self._list_due = now + FIRST_RETRY
            log.warning("looking for PolicyReport CRDs failed, will retry: %s", error)

    def _survey(self, now: float) -> None:
        """Find the report kinds of the cluster. If they changed, and at intervals, also list the guard's reports."""
        kinds = [kind for kind in REPORTS if self._is_known(kind)]
        kind = next(iter(kinds), None)
        if kind is self._kind and now < self._list_due:
            return
        if kind is not self._kind:
            if kind:
                log.info("writing reports as %s of %s", kind.kind, kind.api_version)
            else:
                log.info("no PolicyReport CRD found; not writing reports")
        self._list_due = now + LIST_SECONDS
        self._kind, self._known = kind, dict(self._list(kind)) if kind else {}
        for unused in kinds[1:]:
            for namespace, known in self._list(unused):
                self._delete(unused, namespace, known)
        with self._lock:
            namespaces = {*self._entries, *self._known}
        for namespace in namespaces if kind else ():
            self._queue.add(namespace)

    def _is_known(self, kind: Resource) -> bool:
        try:
            self._client.list_page(kind, limit=1)
        except NotFound:
            return False
        except Forbidden as error:
            if kind not in self._forbidden:
                log.warning("not writing reports as %s of %s: %s", kind.kind, kind.api_version, error)
            self._forbidden.add(kind)
            return False
        self._forbidden.discard(kind)
        return True

    def _list(self, kind: Resource) -> Iterator[tuple[str, _Known]]:
        for stored in list_all(self._client, kind, label_selector=OUR_OBJECTS):
            if stored["metadata"]["name"] == MANAGER:
                yield stored["metadata"]["namespace"], _Known.parse(stored)

    def _bring_up_to_date(self, kind: Resource, namespace: str) -> None:
        """Write a report over its observed version, and never over a report of others."""
        known = self._known.get(namespace)
        wanted = self._wanted(namespace, known)
        if wanted is None:
            if known:
                self._delete(kind, namespace, known)
                del self._known[namespace]
        elif known is None or known.digest != digest(wanted):
            manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **wanted}
            stored = apply_over(self._client, kind, manifest, known.resource_version if known else None)
            self._known[namespace] = _Known.parse(stored)

    def _delete(self, kind: Resource, namespace: str, known: _Known) -> None:
        delete_seen(self._client, kind, namespace, MANAGER, uid=known.uid, version=known.resource_version)

    def _wanted(self, namespace: str, known: _Known | None) -> JSON | None:
        """Return the current content of a report."""
        with self._lock:
            entries = list(self._entries.get(namespace, {}).values())
        policy = self._policy.current
        contested = self._contested(entries)
        found = (
            result
            for entry in entries
            for result in results(entry, policy, (*contested[entry.key], *self._also(entry)), self._judge)
        )
        return report(Key(namespace, MANAGER), found, known.since if known else {}, int(time.time()))

    def _contested(self, entries: Sequence[ServiceEntry]) -> Mapping[Key, tuple[Finding, ...]]:
        found = defaultdict[Key, tuple[Finding, ...]](tuple)
        for entry in entries:
            if exceeded := self._inventory.exceeded(entry.key):
                found[entry.key] += (exceeded.finding,)
        for key in {key for entry in entries for key in keys(entry)}:
            for owner, findings in contested(key, self._inventory.neighbours(key)).items():
                found[owner] += findings
        return found


def _queue(metrics: ControllerMetrics, clock: Clock) -> WorkQueue[str]:
    """Create the queue of namespaces; each is a group of its own."""
    return WorkQueue[str](
        group=lambda namespace: namespace,
        base=FIRST_RETRY,
        cap=LAST_RETRY,
        longest_pause=LAST_RETRY,
        clock=clock,
        meter=metrics.queues.meter(REPORTING),
    )
