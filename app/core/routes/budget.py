"""What the entries of a namespace ask for together, held against the limits of the policy.

The entries are kept in the order of their age. An object is counted for the oldest entry that asks for it, so a change
of an entry moves the counts of its own hosts only. From the first entry on whose objects do not fit any more, nothing
is emitted. A host that several entries name gets one object with the ports of all: those that make it too large, the
younger ones, get nothing.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import accumulate

from app.core.policy.model import Limits
from app.core.routes.candidates import Age, Candidate, Wanted, age
from app.core.routes.limits import Exceeded, no_room, too_large

Rank = tuple[Age, str]
"""The place of an entry in the order of age; a text tells entries of one age and name apart."""


class Budgets:
    """The budgets of all namespaces. Entries are told apart by their handles; not for use from several threads."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Budget] = {}

    def change(self, handle: Hashable, before: Candidate | None, after: Candidate | None) -> set[Hashable]:
        """Take an entry that came, changed or went, None where there is none; see `Budget.change`."""
        one = after or before
        if one is None:
            return set()
        namespace = one.key.namespace
        if namespace not in self._namespaces:
            self._namespaces[namespace] = Budget(one.settings.limits)
        flipped = self._namespaces[namespace].change(handle, before, after)
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]
        return flipped

    def exceeded(self, handle: Hashable, one: Candidate) -> Exceeded | None:
        """Say which limit an entry exceeds in the company of its namespace, if any."""
        budget = self._namespaces.get(one.key.namespace)
        return budget.exceeded(_rank(one, handle)) if budget else None


class Budget:
    """What the entries of one namespace ask for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ranks: list[Rank] = []
        self._candidates: dict[Rank, Candidate] = {}
        self._handles: dict[Rank, Hashable] = {}
        self._asking: dict[Wanted, list[Rank]] = {}
        self._counts = Counter[Rank]()  # objects for which an entry is the oldest that asks
        self._cutoff: Rank | None = None  # the oldest entry whose objects do not fit
        self._crowded_at: dict[Wanted, frozenset[Rank]] = {}
        self._crowded = Counter[Rank]()  # at how many objects an entry does not fit

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def change(self, handle: Hashable, before: Candidate | None, after: Candidate | None) -> set[Hashable]:
        """Take an entry that came, changed or went; returns the handles of entries that fit now, or not any more."""
        cutoff, crowded = self._cutoff, set[Rank]()
        for rank, one, other in _moves(handle, before, after):
            gone, came = _wanted(one), _wanted(other)
            self._keep(rank, handle, other if came else None)
            for wanted in gone - came:
                self._leave(rank, wanted)
            for wanted in came - gone:
                self._join(rank, wanted)
            for wanted in (gone ^ came) if _same_size(one, other) else (gone | came):
                crowded |= self._crowd(wanted)
        self._cutoff = self._cut()
        flipped = (*crowded, *self._between(cutoff, self._cutoff))
        return {self._handles[rank] for rank in flipped if rank in self._handles}

    def exceeded(self, rank: Rank) -> Exceeded | None:
        """Say which limit an entry exceeds, if any."""
        if self._crowded[rank]:
            return too_large(self._limits)
        beyond = self._cutoff is not None and rank >= self._cutoff and rank in self._candidates
        return no_room(self._limits) if beyond else None

    def _keep(self, rank: Rank, handle: Hashable, one: Candidate | None) -> None:
        if one is None:
            if self._candidates.pop(rank, None):
                del self._ranks[bisect_left(self._ranks, rank)], self._handles[rank]
            return
        if rank not in self._candidates:
            insort(self._ranks, rank)
            self._handles[rank] = handle
        self._candidates[rank] = one

    def _join(self, rank: Rank, wanted: Wanted) -> None:
        asking = self._asking.setdefault(wanted, [])
        if not asking or rank < asking[0]:
            self._counts[rank] += 1
            self._uncount(asking[:1])
        insort(asking, rank)

    def _leave(self, rank: Rank, wanted: Wanted) -> None:
        asking = self._asking[wanted]
        place = bisect_left(asking, rank)
        del asking[place]
        if place == 0:
            self._counts.update(asking[:1])
            self._uncount([rank])
        if not asking:
            del self._asking[wanted]

    def _uncount(self, ranks: Iterable[Rank]) -> None:
        for rank in ranks:
            self._counts[rank] -= 1
            if not self._counts[rank]:
                del self._counts[rank]

    def _cut(self) -> Rank | None:
        """Find the oldest entry with which there are too many objects; in most namespaces nothing is to be counted."""
        limit = self._limits.namespace_objects
        if len(self._asking) <= limit:
            return None
        counts = accumulate(self._counts[rank] for rank in self._ranks)
        return next(rank for rank, count in zip(self._ranks, counts, strict=True) if count > limit)

    def _between(self, one: Rank | None, other: Rank | None) -> Iterator[Rank]:
        """Yield the entries between two cutoffs, where None lies beyond all entries."""
        places = sorted(len(self._ranks) if rank is None else bisect_left(self._ranks, rank) for rank in (one, other))
        return iter(self._ranks[places[0] : places[1]])

    def _crowd(self, wanted: Wanted) -> set[Rank]:
        """See which entries make an object too large that several ask for; returns those for which that changed."""
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
        """Yield the entries whose ports do not fit into an object with those of older ones."""
        asking = self._asking.get(wanted, [])
        ones = [self._candidates[rank] for rank in asking] if len(asking) > 1 else []
        every = frozenset[int]().union(*[one.ports for one in ones])
        if not ones or _most(ones, len(every)) <= self._limits.object_bytes:
            return
        size, ports = ones[0].size.of(len(ones[0].ports)), ones[0].ports
        for rank, one in zip(asking[1:], ones[1:], strict=True):
            new = one.ports - ports
            grown = size + len(new) * one.size.port
            if new and grown > self._limits.object_bytes:
                yield rank
            else:
                size, ports = grown, ports | new


def _most(ones: Sequence[Candidate], ports: int) -> int:
    """Return how many bytes an object that several entries ask for has at the most."""
    return max([one.size.base for one in ones]) + ports * max([one.size.port for one in ones])


def _moves(
    handle: Hashable, before: Candidate | None, after: Candidate | None
) -> Iterator[tuple[Rank, Candidate | None, Candidate | None]]:
    """Yield what changes at each rank: an entry that was made anew under its name has another age."""
    ranks = [_rank(one, handle) if one else None for one in (before, after)]
    if ranks[0] and ranks[0] == ranks[1]:
        yield ranks[0], before, after
        return
    if ranks[0]:
        yield ranks[0], before, None
    if ranks[1]:
        yield ranks[1], None, after


def _rank(one: Candidate, handle: Hashable) -> Rank:
    return age(one.entry), "" if handle == one.key else str(handle)


def _wanted(one: Candidate | None) -> set[Wanted]:
    return set(one.wanted()) if one else set()


def _same_size(one: Candidate | None, other: Candidate | None) -> bool:
    if one is None or other is None:
        return False
    return one.size == other.size and one.ports == other.ports
