"""The dispatcher: it passes each watched change to the work queue, Events, metrics, remediation and reports.

After a start all entries are reviewed together once, by the thread that follows the policy: in a large mesh this takes
seconds, in which the threads of the watches go on. What depends on siblings then waits, writing objects does not.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from app.controller.entry_events import EntryEvents
from app.controller.gauges import FindingGauges
from app.controller.interfaces import EntryHandler
from app.controller.inventory import Inventory
from app.controller.reconciler import Reconciler
from app.controller.remediation import Remediator
from app.controller.reports import Reporter
from app.controller.siblings import Siblings
from app.controller.workers import Workers
from app.core.policy.model import GuardPolicy
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.kube.watch import Reflector
from app.policyfile import PolicyFile


class Dispatcher:
    """Receives changes from the threads of the watches, and changes of the policy.

    `entries` returns the reflector of the ServiceEntries, which delivers them here. `synced` says whether all watches
    have loaded their lists.
    """

    def __init__(  # noqa: PLR0913 - all that depends on a change
        self,
        inventory: Inventory,
        policy: PolicyFile,
        entries: Callable[[], Reflector[ServiceEntry]],
        synced: Callable[[], bool],
        *,
        reconciler: Reconciler,
        workers: Workers,
        events: EntryEvents,
        siblings: Siblings,
        gauges: FindingGauges,
        remediator: Remediator,
        reporter: Reporter,
    ) -> None:
        self._inventory = inventory
        self._policy = policy
        self._reconciler = reconciler
        self._workers = workers
        self._events = events
        self._siblings = siblings
        self._gauges = gauges
        self._remediator = remediator
        self._reporter = reporter
        self._handlers: Sequence[EntryHandler] = (gauges, remediator, reporter)
        self._entries = entries
        self._all_synced = synced
        self._lock = threading.Lock()
        self._postponed: list[tuple[ServiceEntry | None, ServiceEntry | None]] = []  # until all entries were reviewed
        self._told = False  # whether Events about the state before this term were written

    def open(self) -> None:
        """Note that this replica is the leader from now on, so that it writes Events about the current state."""
        self._told = False

    def entry_changed(self, _key: object, old: ServiceEntry | None, new: ServiceEntry | None) -> None:
        """Process an added, changed or deleted ServiceEntry."""
        keys = self._inventory.put_entry(old, new)
        changed = self._synced()  # otherwise this is the state at the start, not a change
        if changed:
            self._workers.latency.changed(keys)
        self._enqueue(keys, changed=changed)
        siblings = self._beside_siblings(old, new) if changed and not self._postpones(old, new) else ()
        if changed:
            self._tell_limited()
        if entry := new or old:
            for handler in self._handlers:
                handler.put(entry.key, new)
        self._siblings_changed(siblings)
        self._tell_siblings(write_events=changed)
        self._waypoints_changed()

    def object_changed(self, _key: object, old: Observed | None, new: Observed | None) -> None:
        """Process an added, changed or deleted object of an emitted kind, or HTTPRoute."""
        keys = self._inventory.put_object(old, new)
        self._enqueue((key for key in keys if not self._reconciler.settled(key)), changed=self._all_synced())

    def namespace_changed(self, key: tuple[str, str], _old: Namespace | None, new: Namespace | None) -> None:
        """Process the labels of an added, changed or deleted namespace."""
        _, name = key
        self._enqueue(self._inventory.put_namespace(name, new), changed=self._all_synced())
        self._waypoints_changed()

    def follow_policy(self) -> None:
        """Check whether the policy has changed, or a new day has begun on which exemptions may end."""
        before = self._policy.current
        taken = self._policy.poll()
        unseen = self._postponed or not self._siblings.ready
        if self._synced() and (taken or unseen):  # before, the siblings of an entry may be missing
            self._look_at_all()
        if taken:
            self._inventory.take_policy(self._policy.current)
            self._enqueue(self._inventory.names(), changed=False)
            self._tell_limited()
        if self._policy.current is not before:
            self._policy_changed(before)

    def tell_standing(self) -> None:
        """Write Events about the state before this replica became leader, once for each term."""
        if self._synced() and not self._told:
            self._told = True
            self._inventory.newly_limited()
            self._events.tell_standing(self._stored(), self._policy.current)
            for entry, exceeded in self._inventory.limited():
                self._events.limited(entry, exceeded, standing=True)

    def _look_at_all(self) -> None:
        """Find the entries whose siblings keep their resolution, and then the entries to patch."""
        self._siblings_changed(self._siblings.recount(self._stored()))
        with self._lock:  # so that no later change of the same entry comes first
            for old, new in self._postponed:
                own = {state.key for state in (old, new) if state}
                self._siblings_changed(own | self._beside_siblings(old, new))
            self._postponed.clear()
        self._tell_siblings(write_events=True)
        self._remediator.reconsider()

    def _postpones(self, old: ServiceEntry | None, new: ServiceEntry | None) -> bool:
        """Leave a change to `_look_at_all` if not all entries were reviewed together yet; returns whether it does."""
        with self._lock:
            postponed = bool(self._postponed) or not self._siblings.ready
            if postponed:
                self._postponed.append((old, new))
            return postponed

    def _beside_siblings(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[Key]:
        """Decide a changed entry together with its siblings, and return the siblings to review again."""
        siblings = self._siblings.changed(old, new)
        self._events.entry_changed(old, new, self._policy.current)
        return siblings

    def _policy_changed(self, before: GuardPolicy) -> None:
        self._gauges.reconsider()
        self._reporter.reconsider()
        self._events.policy_changed(self._stored(), before, self._policy.current)

    def _tell_limited(self) -> None:
        for entry, exceeded in self._inventory.newly_limited():
            self._events.limited(entry, exceeded, standing=False)
            self._reporter.touch(entry.key.namespace)

    def _siblings_changed(self, keys: Iterable[Key]) -> None:
        """Review entries again that share a host with a changed entry, because siblings get the same treatment."""
        for key in keys:
            self._gauges.put(key, self._entries().store.get((key.namespace, key.name)))
            self._reporter.touch(key.namespace)
        self._remediator.touch_keys(keys)

    def _waypoints_changed(self) -> None:
        """Update the entries whose waypoint, or whose company at a waypoint, has changed."""
        touched = self._inventory.touched()
        stored = (self._entries().store.get((key.namespace, key.name)) for key in touched)
        self._siblings_changed(touched | self._siblings.at_waypoints(filter(None, stored)))

    def _tell_siblings(self, *, write_events: bool) -> None:
        """Write Events on entries that share a host with a changed entry."""
        for key in self._siblings.news():
            entry = self._entries().store.get((key.namespace, key.name))
            if entry and write_events:
                self._events.sibling_changed(entry, self._policy.current)

    def _enqueue(self, keys: Iterable[Key], *, changed: bool) -> None:
        namespaces = set[str]()
        for key in keys:
            self._workers.queue.add(key, changed=changed)
            namespaces.add(key.namespace)
        for namespace in namespaces:
            self._reporter.touch(namespace)

    def _synced(self) -> bool:
        return self._entries().has_synced

    def _stored(self) -> list[ServiceEntry]:
        return list(self._entries().store.values())
