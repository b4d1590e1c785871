"""Siblings in the controller: entries that keep their resolution, that are changed together, or that are restored.

The webhook sees one object and has no credentials. So `pod_files` writes the entries that keep their resolution into a
ConfigMap for it.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.controller.inventory import Inventory
from app.controller.verdict_cache import VerdictCache
from app.core.policy.model import GuardPolicy
from app.core.resources.fields import JSON
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.kept_resolutions import Standing
from app.core.rules.patch import Operation, authored, set_resolution
from app.core.rules.siblings import follows, led, slipped
from app.core.rules.verdict import remediation
from app.core.rules.waypoint_catalogue import WAYPOINT_SHARED
from app.policyfile import PolicyFile

ATTEMPTS = 3
"""Maximum number of times that one entry is restored: after that, the change is taken as intended."""
SAME_NAMESPACE = "another entry of the namespace for the same host keeps this resolution, and Istio merges both"


@dataclass(frozen=True, slots=True)
class Slip:
    """A change of an entry by admission, which did not know a sibling that keeps its resolution."""

    was: str
    """The resolution to restore."""
    seen: bool = False
    """Whether this controller has seen the change. If not, the manifest must show that its author wrote `was`."""

    def is_reversible(self, entry: ServiceEntry, document: JSON) -> bool:
        """Return whether the controller may restore `was`; `document` is the manifest that it has just read."""
        written = authored(document)
        return written == self.was or (self.seen and written != entry.resolution)


class Siblings:
    """Decides each entry together with its siblings; safe for threads."""

    def __init__(self, inventory: Inventory, judge: VerdictCache, policy: PolicyFile) -> None:
        self._inventory = inventory
        self._judge = judge
        self._policy = policy
        self._lock = threading.Lock()
        self._ready = False
        self._put_back: dict[Key, Slip] = {}
        self._meant = set[Key]()  # entries whose author wrote their resolution, as far as their manifest shows
        self._news = set[Key]()
        self._attempts = Counter[str]()

    def changed(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[Key]:
        """Process an added, changed or deleted entry, and return the siblings to review again."""
        policy = self._policy.current
        own = {state.key for state in (old, new) if state}
        with self._lock:
            self._meant -= own
        if not self._ready or (old and new and self._judge.alike(old, new, policy)):
            return frozenset()
        siblings = self._together(filter(None, (old, new)))
        others = self._judge.reconsider(siblings, policy, old)
        self._note_slip(old, new, policy)
        self._note_older((sibling for key, sibling in siblings.items() if key not in own), policy)
        self._news |= others if old or not new else others - {new.key}  # a new entry has an Event of its own
        return others | (siblings.keys() - own)

    def at_waypoints(self, entries: Iterable[ServiceEntry]) -> frozenset[Key]:
        """Look again at entries of which waypoints show something else, and return their siblings that it concerns."""
        policy, changed = self._policy.current, frozenset[Key]()
        for entry in entries if self._ready else ():
            siblings = self._together([entry])
            changed |= self._judge.reconsider(siblings, policy)
            self._note_older(siblings.values(), policy)
        return changed

    def recount(self, entries: Iterable[ServiceEntry]) -> frozenset[Key]:
        """Review all entries, because all are known now, or because the policy has changed.

        Returns those whose verdict has changed because of siblings.
        """
        entries, policy = tuple(entries), self._policy.current
        seen, changed = set[Key](), set[Key]()
        for entry in entries:
            if entry.key not in seen:
                siblings = self._together([entry]) or {entry.key: entry}
                seen.update(siblings)
                changed |= self._judge.reconsider(siblings, policy)
        if not self._ready:
            self._note_older(entries, policy)
        self._ready = True
        return frozenset(changed)

    def news(self) -> frozenset[Key]:
        """Return the entries whose findings because of siblings have changed since the last call."""
        news, self._news = frozenset(self._news), set()
        return news

    def repair(self, entry: ServiceEntry, document: JSON = None) -> Sequence[Operation]:
        """Return the patch of a stored entry, empty if it needs none.

        The patch is a change that admission would have made, or the reversal of one that it should not have made.
        `document` is the manifest that the API server has just returned; None if only the cached entry is known.
        """
        if not self._ready:
            return ()
        if patch := remediation(entry, self._policy.current, self._judge, self._led):
            return patch
        slip = self._slip_of(entry)
        if not slip:
            return ()
        if document and not slip.is_reversible(entry, document):
            with self._lock:
                self._meant.add(entry.key)
            return ()
        return set_resolution(slip.was, present=entry.resolution_set)

    def reason(self, entry: ServiceEntry) -> str:
        """Say in an Event why the resolution of an entry was restored."""
        found = self._judge(entry, self._policy.current).findings
        return next((one.message for one in found if one.rule is WAYPOINT_SHARED), SAME_NAMESPACE)

    def patched(self, entry: ServiceEntry) -> None:
        """Note that an entry was patched."""
        with self._lock:
            if self._put_back.pop(entry.key, None):
                self._attempts[entry.uid] += 1

    def standing(self) -> Standing:
        """Return the entries that keep their resolution."""
        return self._judge.standing()

    @property
    def version(self) -> int:
        """Return a number that changes with `standing`."""
        return self._judge.standing_version

    @property
    def ready(self) -> bool:
        """Whether every entry was reviewed."""
        return self._ready

    def _note_slip(self, old: ServiceEntry | None, new: ServiceEntry | None, policy: GuardPolicy) -> None:
        if old and new and old.resolution == new.resolution:
            return  # entries to restore stay so
        was = slipped(old, new, self._judge.stays_at(new), policy) if new else None
        with self._lock:
            for state in filter(None, (old, new)):
                self._put_back.pop(state.key, None)
            if new and was and self._attempts[new.uid] < ATTEMPTS:
                self._put_back[new.key] = Slip(was, seen=True)
            if old and not new:
                del self._attempts[old.uid]

    def _note_older(self, entries: Iterable[ServiceEntry], policy: GuardPolicy) -> None:
        """Note entries that were changed before a sibling came, or while no controller was running."""
        for entry in entries:
            resolution = slipped(None, entry, self._judge.stays_at(entry), policy)
            with self._lock:
                if not resolution:
                    self._put_back.pop(entry.key, None)
                elif self._attempts[entry.uid] < ATTEMPTS:
                    self._put_back.setdefault(entry.key, Slip(resolution))

    def _slip_of(self, entry: ServiceEntry) -> Slip | None:
        """Return the change to reverse; None if the author meant it, or if the policy patches no stored entry."""
        with self._lock:
            slip = self._put_back.get(entry.key)
            meant = entry.key in self._meant
        reversible = slip and not meant and slip.was != entry.resolution and follows(entry, self._policy.current)
        return slip if reversible else None

    def _led(self, entry: ServiceEntry, target: str) -> bool:
        return led(entry, target, self._inventory.siblings(entry).values())

    def _together(self, entries: Iterable[ServiceEntry]) -> dict[Key, ServiceEntry]:
        return {sibling.key: sibling for entry in entries for sibling in self._inventory.siblings(entry).values()}
