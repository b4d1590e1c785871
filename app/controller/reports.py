"""PolicyReports: how the ServiceEntries of each namespace stand, for the dashboards that people have already."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.worker import Worker
from app.controller.workqueue import WorkQueue
from app.core.policy_report import contested, digest, report, results, since
from app.core.resources.service_entry import JSON, MANAGER, Key, ServiceEntry
from app.core.routes.plan import keys
from app.core.rules.findings import Finding
from app.core.rules.verdict import Judge, review
from app.kube.apply import OUR_OBJECTS, apply_over, list_all
from app.kube.client import Client, Object
from app.kube.errors import ApiError, Forbidden, NotFound, WriteConflict
from app.kube.resources import REPORTS, Resource
from app.policyfile import PolicyFile
from app.telemetry.metrics import ControllerMetrics

log = logging.getLogger(__name__)

REPORTING = "reports"
DELAY = 5.0
"""Seconds from a change in a namespace until its report is written, with all that changed meanwhile."""
SURVEY_SECONDS = 60.0
"""How often it is seen which kind the cluster knows."""
LIST_SECONDS = 600.0
"""How often reports are listed: one that somebody else changed or deleted is put right then, at the latest."""
FIRST_RETRY, LAST_RETRY = 1.0, 300.0
REST = 20.0
"""How many times as long as a report took its namespace rests: no number of entries takes more than 5 % of the time."""
PAGE = 50
"""Reports in a part of a list: one may have a megabyte."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A report of ours that is in the cluster: its version, what it says, and from which time each result is known."""

    uid: str
    resource_version: str
    digest: bytes
    since: Mapping[int, int]

    @classmethod
    def parse(cls, stored: Object) -> "_Known":
        metadata = stored["metadata"]
        return cls(metadata["uid"], metadata["resourceVersion"], digest(stored), since(stored))


class Reporter:
    """Keeps one report for each namespace, from a thread and a queue of its own, while this replica leads.

    What a report says follows from what was observed, so a new leader goes on where the last one ended; nothing is
    written before `synced` says that everything was. It does nothing where the cluster knows no kind of report, nor
    unless it is `enabled`.
    """

    def __init__(  # noqa: PLR0913 - whom to write to, from what, when and how often
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
        self._lock = threading.Lock()
        self._entries: dict[str, dict[str, ServiceEntry]] = {}
        self._kind: Resource | None = None
        self._known: dict[str, _Known] = {}
        self._survey_due = 0.0
        self._list_due = 0.0
        self._forbidden = set[Resource]()
        self._queue = WorkQueue[str](
            group=lambda namespace: namespace,
            base=FIRST_RETRY,
            cap=LAST_RETRY,
            longest_pause=LAST_RETRY,
            meter=metrics.queues.meter(REPORTING),
        )
        if enabled:
            metrics.queues.watch(REPORTING, self._queue)
        self._took: dict[str, float] = {}
        meter = metrics.reconciles.meter(REPORTING)
        self._worker = Worker(REPORTING, self._queue, self, leadership, meter, prepare=self._prepare)

    def start(self) -> None:
        """Begin, once this replica leads."""
        if self._enabled:
            self._worker.start()

    def stop(self, seconds: float) -> None:
        """Write no more; waits up to `seconds` for what is under way."""
        self._worker.stop(seconds)

    def open(self) -> None:
        """Look at what there is: this replica leads from now on, and another one wrote until now."""
        self._queue.open()
        self._survey_due = self._list_due = 0.0

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Take an entry as it is now, None if it is gone."""
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
        """Something changed that has a say in the report of a namespace."""
        if self._enabled:
            self._queue.add_after(namespace, max(self._delay, REST * self._took.get(namespace, 0.0)))

    def reconsider(self) -> None:
        """Another policy is in force."""
        with self._lock:
            namespaces = list(self._entries)
        for namespace in namespaces:
            self.touch(namespace)

    def wants(self, namespace: str) -> bool:  # noqa: ARG002 - each is seen to
        """Say whether reports are written at all."""
        return self._kind is not None

    def work(self, namespace: str) -> None:
        """Bring a report up to date."""
        began = time.monotonic()
        if self._kind:
            self._bring_up_to_date(self._kind, namespace)
        self._took[namespace] = time.monotonic() - began

    def failed(self, namespace: str, error: Exception) -> None:
        """Say that a report is written later."""
        if isinstance(error, (WriteConflict, NotFound)):  # something is not as it was seen
            self._survey_due = self._list_due = 0.0
        log.warning("writing the PolicyReport of namespace %s failed, will retry: %s", namespace, error)

    def refused(self, namespace: str, error: Exception) -> None:
        """Say that a report is tried less and less often."""
        self.failed(namespace, error)

    def _prepare(self) -> bool:
        """Look at which kinds there are, once all entries are known."""
        if self._synced():
            self._survey_if_due()
            return True
        return False

    def _survey_if_due(self) -> None:
        now = time.monotonic()
        if now < self._survey_due:
            return
        self._survey_due = now + self._survey_seconds
        try:
            self._survey(now)
        except ApiError as error:
            self._survey_due = self._list_due = now + FIRST_RETRY
            log.warning("looking for PolicyReport CRDs failed, will retry: %s", error)

    def _survey(self, now: float) -> None:
        """See which kinds there are; where that changed, and every so often, also what there is of ours."""
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
        """Write a report over what it was when it was last seen, and never over one of others."""
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
        with suppress(NotFound):
            self._client.delete(kind, namespace, MANAGER, uid=known.uid, resource_version=known.resource_version)

    def _wanted(self, namespace: str, known: _Known | None) -> JSON | None:
        """Write what a report should say now."""
        with self._lock:
            entries = list(self._entries.get(namespace, {}).values())
        policy = self._policy.current
        told = self._contested(entries)
        found = (
            one
            for entry in entries
            for one in results(entry, policy, (*told[entry.key], *self._also(entry)), self._judge)
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
