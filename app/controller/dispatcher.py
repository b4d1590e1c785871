"""A change as it is watched, told to all that depend on it: the queue of names, Events, metrics, repairs, reports."""

from collections.abc import Callable, Iterable, Sequence

from app.controller.entry_events import Narrator
from app.controller.gauges import Tally
from app.controller.interfaces import EntryHandler
from app.controller.inventory import Inventory
from app.controller.reconciler import Reconciler
from app.controller.remediation import Remediator
from app.controller.reports import Reporter
from app.controller.siblings import Siblings
from app.controller.workers import Workers
from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.kube.watch import Reflector
from app.policyfile import PolicyFile


class Dispatcher:
    """Takes what the watches deliver, from a thread of each, and the policy.

    `entries` returns the reflector of the ServiceEntries, which delivers them here.
    """

    def __init__(  # noqa: PLR0913 - all that depends on a change
        self,
        inventory: Inventory,
        policy: PolicyFile,
        entries: Callable[[], Reflector[ServiceEntry]],
        *,
        reconciler: Reconciler,
        workers: Workers,
        narrator: Narrator,
        siblings: Siblings,
        tally: Tally,
        remediator: Remediator,
        reporter: Reporter,
    ) -> None:
        self._inventory = inventory
        self._policy = policy
        self._reconciler = reconciler
        self._workers = workers
        self._narrator = narrator
        self._siblings = siblings
        self._tally = tally
        self._remediator = remediator
        self._reporter = reporter
        self._handlers: Sequence[EntryHandler] = (tally, remediator, reporter)
        self._entries = entries
        self._told = False  # whether what was so before this replica led was told

    def open(self) -> None:
        """Note that this replica leads from now on: what stands is to be told."""
        self._told = False

    def entry_changed(self, _key: object, old: ServiceEntry | None, new: ServiceEntry | None) -> None:
        """Take a ServiceEntry that came, changed or went."""
        keys = self._inventory.put_entry(old, new)
        changed = self._synced()  # else it is no change, but what there was at the start
        if changed and not self._siblings.ready:
            self._look_at_all()
        siblings = self._siblings.changed(old, new)
        if changed:
            self._workers.latency.changed(keys)
        self._enqueue(keys)
        if changed:
            self._narrator.entry_changed(old, new, self._policy.current)
            self._tell_limited()
        if entry := new or old:
            for handler in self._handlers:
                handler.put(entry.key, new)
        self._siblings_changed(siblings)
        self._tell_siblings(told=changed)

    def object_changed(self, _key: object, old: Observed | None, new: Observed | None) -> None:
        """Take an object of an emitted kind, or an HTTPRoute, that came, changed or went."""
        keys = self._inventory.put_object(old, new)
        self._enqueue(key for key in keys if not self._reconciler.settled(key))

    def follow_policy(self) -> None:
        """See whether another policy is in force, or another day, on which exemptions may end."""
        before = self._policy.current
        if (taken := self._policy.poll()) or (self._synced() and not self._siblings.ready):
            self._look_at_all()
        if taken:
            self._inventory.take_policy(self._policy.current)
            self._enqueue(self._inventory.names())
            self._tell_limited()
        if self._policy.current is not before:
            self._policy_changed(before)

    def tell_standing(self) -> None:
        """Tell, once for each time that this replica leads, what was so before."""
        if self._synced() and not self._told:
            self._told = True
            self._inventory.newly_limited()
            self._narrator.tell_standing(self._stored(), self._policy.current)
            for entry, exceeded in self._inventory.limited():
                self._narrator.limited(entry, exceeded, standing=True)

    def _look_at_all(self) -> None:
        """Decide for every entry whether its siblings keep it, and then which are to be patched."""
        self._siblings.recount(self._stored())
        self._remediator.reconsider()

    def _policy_changed(self, before: GuardPolicy) -> None:
        self._tally.reconsider()
        self._reporter.reconsider()
        self._narrator.policy_changed(self._stored(), before, self._policy.current)

    def _tell_limited(self) -> None:
        for entry, exceeded in self._inventory.newly_limited():
            self._narrator.limited(entry, exceeded, standing=False)
            self._reporter.touch(entry.key.namespace)

    def _siblings_changed(self, keys: Iterable[Key]) -> None:
        """Look again at entries that share a host with one that changed: they stand or fall together."""
        for key in keys:
            self._tally.put(key, self._entries().store.get((key.namespace, key.name)))
            self._reporter.touch(key.namespace)
        self._remediator.touch_keys(keys)

    def _tell_siblings(self, *, told: bool) -> None:
        """Tell the owners of entries that share a host with one that changed."""
        for key in self._siblings.news():
            entry = self._entries().store.get((key.namespace, key.name))
            if entry and told:
                self._narrator.sibling_changed(entry, self._policy.current)

    def _enqueue(self, keys: Iterable[Key]) -> None:
        namespaces = set[str]()
        for key in keys:
            self._workers.queue.add(key)
            namespaces.add(key.namespace)
        for namespace in namespaces:
            self._reporter.touch(namespace)

    def _synced(self) -> bool:
        return self._entries().has_synced

    def _stored(self) -> list[ServiceEntry]:
        return list(self._entries().store.values())
