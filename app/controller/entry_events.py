"""Events about ServiceEntries: the leader writes one for each change of an entry's state."""

from collections.abc import Callable, Iterable

from app.core.event_catalogue import UNFIXABLE, Notice, applied, conflict, contested, limited, notices, refused
from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import API_VERSION, ServiceEntry
from app.core.routes.limits import Exceeded
from app.core.routes.observed import Observed
from app.core.routes.plan import Conflict
from app.core.routes.virtual_service import Emitted
from app.core.rules.verdict import Judge, review
from app.kube.events import EventRecorder


class EntryEvents:
    """Writes Events about changes while `leading`; safe for threads. Methods return immediately and never fail."""

    def __init__(self, events: EventRecorder, leading: Callable[[], bool], judge: Judge = review) -> None:
        self._events = events
        self._judge = judge
        self._leading = leading

    def entry_changed(self, old: ServiceEntry | None, new: ServiceEntry | None, policy: GuardPolicy) -> None:
        """Write Events about the new state of an entry; `old` and `new` are None if it is new or deleted."""
        if new is None or not self._leading():
            return
        before = notices(self._judge(old, policy)) if old and old.uid == new.uid else ()
        self._tell_new(new, before, policy)

    def sibling_changed(self, entry: ServiceEntry, policy: GuardPolicy) -> None:
        """Write Events about an entry whose sibling has changed."""
        if self._leading():
            for notice in notices(self._judge(entry, policy)):
                if notice.reason is UNFIXABLE:
                    self.tell(entry, notice)

    def policy_changed(self, entries: Iterable[ServiceEntry], old: GuardPolicy, new: GuardPolicy) -> None:
        """Write Events about entries whose state changed with the policy."""
        for entry in entries:
            if self._leading():
                self._tell_new(entry, notices(self._judge(entry, old)), new)

    def tell_standing(self, entries: Iterable[ServiceEntry], policy: GuardPolicy) -> None:
        """Write the current warnings as Events, because this replica has become the leader."""
        for entry in entries:
            for notice in notices(self._judge(entry, policy)):
                if notice.reason.type == "Warning":
                    self.tell(entry, notice, standing=True)

    def applied(self, emitted: Emitted, before: Observed | None) -> None:
        """Write the Event about an object that was created or updated."""
        self.tell(emitted.owner, applied(emitted, created=before is None))

    def yielded(self, found: Conflict, *, standing: bool) -> None:
        """Write the Event about an object that is not emitted because of a claim."""
        self.tell(found.emitted.owner, conflict(found), standing=standing)

    def limited(self, entry: ServiceEntry, exceeded: Exceeded, *, standing: bool) -> None:
        """Write the Event about an entry that exceeds a limit."""
        if self._leading():
            self.tell(entry, limited(exceeded), standing=standing)

    def refused(self, entry: ServiceEntry, reason: str) -> None:
        """Write the Event about a namespace in which the API server rejects writes, on one of its entries."""
        self.tell(entry, refused(entry.key.namespace, reason))

    def contested(self, entry: ServiceEntry, name: str, managers: str) -> None:
        """Write the Event about an object that another client changes again and again."""
        self.tell(entry, contested(name, managers))

    def tell(self, entry: ServiceEntry, notice: Notice, *, standing: bool = False) -> None:
        """Write an Event; `standing` means that the state is probably older."""
        reason = notice.reason
        self._events.record(
            reference(entry), reason.name, notice.note, reason.type, action=reason.action, standing=standing
        )

    def _tell_new(self, entry: ServiceEntry, before: Iterable[Notice], policy: GuardPolicy) -> None:
        known = set(before)
        for notice in notices(self._judge(entry, policy)):
            if notice not in known:
                self.tell(entry, notice)


def reference(entry: ServiceEntry) -> dict[str, str]:
    """Return the ObjectReference of an entry, for Events about it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceEntry",
        "namespace": entry.key.namespace,
        "name": entry.key.name,
        "uid": entry.uid,
    }
