"""A cache of verdicts: several parts of the controller need the verdict on a changed entry."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.findings import Finding, Severity
from app.core.rules.kept_resolutions import Place, Standing, Stays, places
from app.core.rules.siblings import Held, Member, at_odds, held, keep, standing, with_split
from app.core.rules.verdict import Verdict, review
from app.core.rules.waypoint_catalogue import WAYPOINT_SHARED

AtWaypoint = Callable[[ServiceEntry, Verdict, GuardPolicy], Verdict]
"""Adds the findings of an ambient mesh, which need other entries, to the verdict on an entry."""
LIMIT = 256
"""Number of cached verdicts. A few suffice, because all parts ask right after a change."""


class VerdictCache:
    """Reviews entries together with their siblings, and caches the last `limit` verdicts; safe for threads.

    The cache compares entries and policies by identity: a changed entry or a reloaded policy is a new object.
    """

    def __init__(self, limit: int = LIMIT, at_waypoint: AtWaypoint = lambda _entry, verdict, _policy: verdict) -> None:
        self._limit = limit
        self._at_waypoint = at_waypoint
        self._lock = threading.Lock()
        # id() is unique only while the object exists, so the cache holds the entry beside its verdict.
        self._made: OrderedDict[int, tuple[ServiceEntry, GuardPolicy, Verdict]] = OrderedDict()
        self._held: dict[Key, Held] = {}
        self._odds: dict[Key, Finding] = {}
        self._standing: dict[Place, tuple[Stays, ...]] = {}
        self.standing_version = 0
        """Changes whenever `standing` does."""

    def __call__(self, entry: ServiceEntry, policy: GuardPolicy) -> Verdict:
        """Return the verdict of `review`, changed if a sibling keeps its resolution or has a different one."""
        verdict = self._at_waypoint(entry, self._alone(entry, policy), policy)
        found = self._held.get(entry.key)
        if found and verdict.patch:
            return keep(verdict, found, policy)
        odds = self._odds.get(entry.key)
        return with_split(verdict, odds) if odds else verdict

    def reconsider(
        self, siblings: Mapping[Key, ServiceEntry], policy: GuardPolicy, gone: ServiceEntry | None = None
    ) -> frozenset[Key]:
        """Update entries that share hosts, and return those whose verdict has changed.

        `siblings` are all entries that share a host with each other; `gone` is the previous state of a changed or
        deleted one.
        """
        members = {
            key: Member.stored(entry, self._at_waypoint(entry, self._alone(entry, policy), policy), policy)
            for key, entry in siblings.items()
        }
        kept = held(members)
        stays, odds = standing(members, kept), at_odds(members, kept)
        stays |= _at_waypoints(members.values(), stays)
        with self._lock:
            changed = {key for key in members if _said(key, self._held, self._odds) != _said(key, kept, odds)}
            for key in (*members, *((gone.key,) if gone else ())):
                self._held.pop(key, None)
                self._odds.pop(key, None)
            self._held |= kept
            self._odds |= odds
            looked_at = {place for sibling in (*siblings.values(), gone) if sibling for place in places(sibling)}
            for place in looked_at:
                if self._standing.get(place) != stays.get(place):
                    self.standing_version += 1
                    self._standing.pop(place, None)
            self._standing |= stays
        return frozenset(changed)

    def alike(self, entry: ServiceEntry, other: ServiceEntry, policy: GuardPolicy) -> bool:
        """Say whether two states of an entry are equal for its siblings."""
        fields = [
            (each.uid, each.hosts, each.ports, each.addresses, each.resolution, each.terminating)
            for each in (entry, other)
        ]
        return fields[0] == fields[1] and self._alone(entry, policy).patch == self._alone(other, policy).patch

    def standing(self) -> Standing:
        """Return the entries that keep their resolution, at each place that they name."""
        with self._lock:
            return dict(self._standing)

    def stays_at(self, entry: ServiceEntry) -> Standing:
        """Return the entries that keep their resolution, at the places that an entry names."""
        with self._lock:
            return {place: self._standing[place] for place in places(entry) if place in self._standing}

    def _alone(self, entry: ServiceEntry, policy: GuardPolicy) -> Verdict:
        cached = self._made.get(id(entry))
        if cached and cached[1] is policy:
            return cached[2]
        verdict = review(entry, policy)
        with self._lock:
            self._made[id(entry)] = (entry, policy, verdict)
            if len(self._made) > self._limit:
                self._made.popitem(last=False)
        return verdict


def _at_waypoints(
    members: Iterable[Member], stays: Mapping[Place, tuple[Stays, ...]]
) -> dict[Place, tuple[Stays, ...]]:
    """Return the places of entries that share a waypoint with one of another namespace, with all that stays there."""
    found: dict[Place, tuple[Stays, ...]] = {}
    for member in members:
        for finding in member.verdict.findings:
            for place in places(member.entry) if finding.rule is WAYPOINT_SHARED else ():
                found[place] = (*found.get(place, stays.get(place, ())), Stays.at_waypoint(finding))
    return {place: tuple(dict.fromkeys(ones)) for place, ones in found.items()}


def _said(key: Key, kept: Mapping[Key, Held], odds: Mapping[Key, Finding]) -> object:
    """Return the finding that the siblings of an entry cause, None without such a sibling."""
    return kept[key].finding(Severity.ERROR) if key in kept else odds.get(key)
