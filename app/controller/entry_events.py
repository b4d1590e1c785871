"""The story of ServiceEntries, told in Events: once for each change of what there is to tell, by the leader."""

from collections.abc import Callable, Iterable

from app.core.event_catalogue import UNFIXABLE, Notice, applied, conflict, limited, notices, refused
from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import API_VERSION, ServiceEntry
from app.core.routes.limits import Exceeded
from app.core.routes.observed import Observed
from app.core.routes.plan import Conflict
from app.core.routes.virtual_service import Emitted
from app.core.rules.verdict import Judge, review
from app.kube.events import EventRecorder


class Narrator:
    """Tells what changed, while `leading`; usable from several threads. Returns at once, and never fails."""

    def __init__(self, events: EventRecorder, leading: Callable[[], bool], judge: Judge = review) -> None:
        self._events = events
        self._judge = judge
        self._leading = leading

    def entry_changed(self, old: ServiceEntry | None, new: ServiceEntry | None, policy: GuardPolicy) -> None:
        """Tell what is so of an entry and was not before its change; None if it is new or gone."""
        if new is None or not self._leading():
            return
        before = notices(self._judge(old, policy)) if old and old.uid == new.uid else ()
        self._tell_new(new, before, policy)

    def sibling_changed(self, entry: ServiceEntry, policy: GuardPolicy) -> None:
        """Tell why an entry keeps its resolution, or loses a port: an entry that shares a host with it has changed."""
        if self._leading():
            for notice in notices(self._judge(entry, policy)):
                if notice.reason is UNFIXABLE:
                    self.tell(entry, notice)

    def policy_changed(self, entries: Iterable[ServiceEntry], old: GuardPolicy, new: GuardPolicy) -> None:
        """Tell what is so of entries under another policy and was not before."""
        for entry in entries:
            if self._leading():
                self._tell_new(entry, notices(self._judge(entry, old)), new)

    def tell_standing(self, entries: Iterable[ServiceEntry], policy: GuardPolicy) -> None:
        """Tell what warnings there are: this replica leads from now on, and can't know which were told."""
        for entry in entries:
            for notice in notices(self._judge(entry, policy)):
                if notice.reason.type == "Warning":
                    self.tell(entry, notice, standing=True)

    def applied(self, emitted: Emitted, before: Observed | None) -> None:
        """Tell of an object that was written, over one that was there or not."""
        self.tell(emitted.owner, applied(emitted, created=before is None))

    def yielded(self, found: Conflict, *, standing: bool) -> None:
        """Tell of an object that is not emitted because of another one."""
        self.tell(found.emitted.owner, conflict(found), standing=standing)

    def limited(self, entry: ServiceEntry, exceeded: Exceeded, *, standing: bool) -> None:
        """Tell of an entry for which nothing is emitted because it exceeds a limit."""
        if self._leading():
            self.tell(entry, limited(exceeded), standing=standing)

    def refused(self, entry: ServiceEntry, reason: str) -> None:
        """Tell one entry of a namespace that what is written there is refused."""
        self.tell(entry, refused(entry.key.namespace, reason))

    def tell(self, entry: ServiceEntry, notice: Notice, *, standing: bool = False) -> None:
        """Tell something of an entry; what is `standing` has been so for longer, as far as is known."""
        reason = notice.reason
        self._events.record(
            reference(entry), reason.name, notice.note, reason.type, action=reason.action, standing=standing
        )

    def _tell_new(self, entry: ServiceEntry, before: Iterable[Notice], policy: GuardPolicy) -> None:
        told = set(before)
        for notice in notices(self._judge(entry, policy)):
            if notice not in told:
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
