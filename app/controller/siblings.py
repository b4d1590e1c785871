"""Siblings in the controller: entries that keep their resolution, that are changed together, or that are restored.

The webhook sees one object and has no credentials. So `pod_files` writes the entries that keep their resolution into a
ConfigMap for it.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from app.controller.inventory import Inventory
from app.controller.verdict_cache import VerdictCache
from app.core.policy.model import GuardPolicy
from app.core.resources.fields import JSON
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.kept_resolutions import Standing
from app.core.rules.patch import Operation, set_resolution, wrote
from app.core.rules.siblings import follows, led, slipped
from app.core.rules.verdict import remediation
from app.policyfile import PolicyFile

ATTEMPTS = 3
"""Maximum number of times that one entry is restored: after that, the change is taken as intended."""


class Siblings:
    """Decides each entry together with its siblings; safe for threads."""

    def __init__(self, inventory: Inventory, judge: VerdictCache, policy: PolicyFile) -> None:
        self._inventory = inventory
        self._judge = judge
        self._policy = policy
        self._lock = threading.Lock()
        self._ready = False
        self._put_back: dict[Key, str] = {}
        self._missed = set[Key]()
        self._news = set[Key]()
        self._attempts = Counter[str]()

    def changed(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[Key]:
        """Process an added, changed or deleted entry, and return the siblings to review again."""
        policy = self._policy.current
        if not self._ready or (old and new and self._judge.alike(old, new, policy)):
            return frozenset()
        siblings = self._together(filter(None, (old, new)))
        others = self._judge.reconsider(siblings, policy, old)
        self._note_slip(old, new, policy)
        self._news |= others if old or not new else others - {new.key}  # a new entry has an Event of its own
        return others | (siblings.keys() - {state.key for state in (old, new) if state})

    def at_waypoints(self, entries: Iterable[ServiceEntry]) -> frozenset[Key]:
        """Look again at entries of which waypoints show something else, and return their siblings that it concerns."""
        policy = self._policy.current
        changed = (self._judge.reconsider(self._together([one]), policy) for one in (entries if self._ready else ()))
        return frozenset[Key]().union(*changed)

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
        for entry in () if self._ready else entries:
            self._note_missed(entry, policy)
        self._ready = True
        return frozenset(changed)

    def news(self) -> frozenset[Key]:
        """Return the entries whose findings because of siblings have changed since the last call."""
        news, self._news = frozenset(self._news), set()
        return news

    def repair(self, entry: ServiceEntry, document: JSON = None) -> Sequence[Operation]:
        """Return the patch of a stored entry, empty if it needs none.

        The patch is a change that admission would have made, or the reversal of one that it should not have made.
        `document` is the entry as it was just read, if it was read.
        """
        if not self._ready:
            return ()
        if patch := remediation(entry, self._policy.current, self._judge, self._led):
            return patch
        with self._lock:
            was, missed = self._put_back.get(entry.key), entry.key in self._missed
        if was is None or was == entry.resolution or not follows(entry, self._policy.current):
            return ()
        if document and missed and not wrote(document, was):
            self._leave(entry.key)
            return ()
        return (
            () if document and wrote(document, entry.resolution) else set_resolution(was, present=entry.resolution_set)
        )

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
        for state in filter(None, (old, new)):
            self._leave(state.key)
        with self._lock:
            if new and was and self._attempts[new.uid] < ATTEMPTS:
                self._put_back[new.key] = was
            if old and not new:
                del self._attempts[old.uid]

    def _leave(self, key: Key) -> None:
        with self._lock:
            self._put_back.pop(key, None)
            self._missed.discard(key)

    def _note_missed(self, entry: ServiceEntry, policy: GuardPolicy) -> None:
        """Note an entry that may have been changed while no controller was running; its manifest has the details."""
        # Of two entries at one waypoint, it is not known which one came first: neither is put back.
        stays = {
            place: tuple(sibling for sibling in siblings if not sibling.elsewhere)
            for place, siblings in self._judge.stays_at(entry).items()
        }
        if was := slipped(None, entry, stays, policy):
            with self._lock:
                self._put_back[entry.key] = was
                self._missed.add(entry.key)

    def _led(self, entry: ServiceEntry, target: str) -> bool:
        return led(entry, target, self._inventory.siblings(entry).values())

    def _together(self, entries: Iterable[ServiceEntry]) -> dict[Key, ServiceEntry]:
        return {sibling.key: sibling for entry in entries for sibling in self._inventory.siblings(entry).values()}
