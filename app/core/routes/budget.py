"""The objects that all entries of a namespace ask for, compared with the limits of the policy.

The entries are sorted by age. An object counts for the oldest entry that asks for it, so a change of an entry changes
only the counts of its own hosts. From the first entry whose objects exceed the limit on, nothing is emitted. A host
that several entries name has one object with the ports of all: for the newer entries that make it too large, nothing
is emitted.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import accumulate

from app.core.policy.model import Limits
from app.core.routes.candidates import Age, Candidate, Wanted, age
from app.core.routes.limits import Exceeded, no_room, too_large

Rank = tuple[Age, str]
"""The position of an entry in the order of age; a text distinguishes entries of the same age and name."""


class Budgets:
    """The budgets of all namespaces. Handles identify entries; not safe for threads."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Budget] = {}

    def change(self, handle: Hashable, before: Candidate | None, after: Candidate | None) -> set[Hashable]:
        """Process an added, changed or deleted entry (None: there is none); see `Budget.change`."""
        candidate = after or before
        if candidate is None:
            return set()
        namespace = candidate.key.namespace
        if namespace not in self._namespaces:
            self._namespaces[namespace] = Budget(candidate.settings.limits)
        flipped = self._namespaces[namespace].change(handle, before, after)
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]
        return flipped

    def exceeded(self, handle: Hashable, candidate: Candidate) -> Exceeded | None:
        """Return the limit that an entry exceeds together with others of its namespace, if any."""
        budget = self._namespaces.get(candidate.key.namespace)
        return budget.exceeded(_rank(candidate, handle)) if budget else None


class Budget:
    """The objects that the entries of one namespace ask for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ranks: list[Rank] = []
        self._candidates: dict[Rank, Candidate] = {}
        self._handles: dict[Rank, Hashable] = {}
        self._asking: dict[Wanted, tuple[Rank, ...]] = {}  # most have one entry
        self._counts = Counter[Rank]()  # objects for which an entry is the oldest that asks
        self._cutoff: Rank | None = None  # the oldest entry whose objects do not fit
        self._crowded_at: dict[Wanted, frozenset[Rank]] = {}
        self._crowded = Counter[Rank]()  # at how many objects an entry does not fit

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def change(self, handle: Hashable, before: Candidate | None, after: Candidate | None) -> set[Hashable]:
        """Process an added, changed or deleted entry; returns the handles of entries that now fit, or no longer fit."""
        cutoff, crowded = self._cutoff, set[Rank]()
        for rank, old, new in _moves(handle, before, after):
            gone, came = _wanted(old), _wanted(new)
            self._keep(rank, handle, new if came else None)
            for wanted in gone - came:
                self._leave(rank, wanted)
            for wanted in came - gone:
                self._join(rank, wanted)
            for wanted in (gone ^ came) if _same_size(old, new) else (gone | came):
                crowded |= self._crowd(wanted)
        self._cutoff = self._cut()
        flipped = (*crowded, *self._between(cutoff, self._cutoff))
        return {self._handles[rank] for rank in flipped if rank in self._handles}

    def exceeded(self, rank: Rank) -> Exceeded | None:
        """Return the limit that an entry exceeds, if any."""
        if self._crowded[rank]:
            return too_large(self._limits)
        beyond = self._cutoff is not None and rank >= self._cutoff and rank in self._candidates
        return no_room(self._limits) if beyond else None

    def _keep(self, rank: Rank, handle: Hashable, candidate: Candidate | None) -> None:
        if candidate is None:
            if self._candidates.pop(rank, None):
                del self._ranks[bisect_left(self._ranks, rank)], self._handles[rank]
            return
        if rank not in self._candidates:
            insort(self._ranks, rank)
            self._handles[rank] = handle
        self._candidates[rank] = candidate

    def _join(self, rank: Rank, wanted: Wanted) -> None:
        asking = self._asking.get(wanted, ())
        if not asking or rank < asking[0]:
            self._counts[rank] += 1
            self._uncount(asking[:1])
        self._asking[wanted] = tuple(sorted((*asking, rank)))

    def _leave(self, rank: Rank, wanted: Wanted) -> None:
        asking = self._asking[wanted]
        left = tuple(each for each in asking if each != rank)
        if rank == asking[0]:
            self._counts.update(left[:1])
            self._uncount([rank])
        if left:
            self._asking[wanted] = left
        else:
            del self._asking[wanted]

    def _uncount(self, ranks: Iterable[Rank]) -> None:
        for rank in ranks:
            self._counts[rank] -= 1
            if not self._counts[rank]:
                del self._counts[rank]

    def _cut(self) -> Rank | None:
        """Find the oldest entry that exceeds the number of objects; most namespaces need no counting."""
        limit = self._limits.namespace_objects
        if len(self._asking) <= limit:
            return None
        counts = accumulate(self._counts[rank] for rank in self._ranks)
        return next(rank for rank, count in zip(self._ranks, counts, strict=True) if count > limit)

    def _between(self, first: Rank | None, second: Rank | None) -> Iterator[Rank]:
        """Yield the entries between two cutoffs; None is after all entries."""
        places = sorted(
            len(self._ranks) if rank is None else bisect_left(self._ranks, rank) for rank in (first, second)
        )
        return iter(self._ranks[places[0] : places[1]])

    def _crowd(self, wanted: Wanted) -> set[Rank]:
        """Find the entries that make a shared object too large; returns those for which this has changed."""
        before, after = self._crowded_at.pop(wanted, frozenset()), frozenset(self._overfull(wanted))
        if after:
            self._crowded_at[wanted] = after
        changed = set[Rank]()
        for rank in before ^ after:
            was = bool(self._crowded[rank])
            self._crowded[rank] += 1 if rank in after else -1
            if not self._crowded[rank]:
                del self._crowded[rank]
            if was is not bool(self._crowded[rank]):
                changed.add(rank)
        return changed

    def _overfull(self, wanted: Wanted) -> Iterator[Rank]:
        """Yield the entries whose ports do not fit into an object together with those of older entries."""
        asking = self._asking.get(wanted, ())
        candidates = [self._candidates[rank] for rank in asking] if len(asking) > 1 else []
        every = frozenset[int]().union(*[each.ports for each in candidates])
        if not candidates or _most(candidates, len(every)) <= self._limits.object_bytes:
            return
        size, ports = candidates[0].size.of(len(candidates[0].ports)), candidates[0].ports
        for rank, candidate in zip(asking[1:], candidates[1:], strict=True):
            new = candidate.ports - ports
            grown = size + len(new) * candidate.size.port
            if new and grown > self._limits.object_bytes:
                yield rank
            else:
                size, ports = grown, ports | new


def _most(candidates: Sequence[Candidate], ports: int) -> int:
    """Return the maximum size in bytes of an object that several entries ask for."""
    return max([each.size.base for each in candidates]) + ports * max([each.size.port for each in candidates])


def _moves(
    handle: Hashable, before: Candidate | None, after: Candidate | None
) -> Iterator[tuple[Rank, Candidate | None, Candidate | None]]:
    """Yield the change at each rank: an entry that was deleted and created again has a different age."""
    ranks = [_rank(state, handle) if state else None for state in (before, after)]
    if ranks[0] and ranks[0] == ranks[1]:
        yield ranks[0], before, after
        return
    if ranks[0]:
        yield ranks[0], before, None
    if ranks[1]:
        yield ranks[1], None, after


def _rank(candidate: Candidate, handle: Hashable) -> Rank:
    return age(candidate.entry), "" if handle == candidate.key else str(handle)


def _wanted(candidate: Candidate | None) -> set[Wanted]:
    return set(candidate.wanted()) if candidate else set()


def _same_size(old: Candidate | None, new: Candidate | None) -> bool:
    if old is None or new is None:
        return False
    return old.size == new.size and old.ports == new.ports
