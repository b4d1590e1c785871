"""The controller's figures: stored ServiceEntries by finding, conflicts, and the time from a change to its write."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from prometheus_client import Histogram

from app.core.resources.days import end_of
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.plan import Conflict
from app.core.rules.verdict import Verdict

CLAIMANTS = 10
"""Maximum number of claimants per namespace in the metric, so that a team cannot create thousands of series."""
OTHERS = "others"
L = TypeVar("L", bound=Hashable)

_Judged = tuple[ServiceEntry | None, tuple[str, ...], bool, str]
"""An entry, the codes of its findings, whether it is unfixable, and the last day of its exemption."""


class Counts(Generic[L]):
    """Counts by label; a count of zero is removed."""

    def __init__(self) -> None:
        self._counter = Counter[L]()

    def move(self, before: Iterable[L], after: Iterable[L]) -> None:
        """Update the counts for an object whose labels have changed."""
        self._counter.update(after)
        for label in before:
            self._counter[label] -= 1
            if not self._counter[label]:
                del self._counter[label]

    def __call__(self) -> Mapping[L, int]:
        """Return a copy of them."""
        return self._counter.copy()


class FindingGauges:
    """Counts findings by namespace and code, and unfixable entries by namespace; safe for use from several threads."""

    def __init__(self, judge: Callable[[ServiceEntry], Verdict]) -> None:
        self._judge = judge
        self._lock = threading.Lock()
        self._judged: dict[Key, _Judged] = {}
        self._findings = Counts[tuple[str, ...]]()
        self._unfixable = Counts[tuple[str, ...]]()
        self._exempt = Counts[tuple[str, str]]()  # by namespace and last day

    def put(self, key: Key, entry: ServiceEntry | None) -> None:
        """Process an entry, None if it was deleted."""
        with self._lock:
            self._put(key, entry)

    def reconsider(self) -> None:
        """Review every entry again, and lock for one at a time, so that other threads do not wait long."""
        with self._lock:
            keys = list(self._judged)
        for key in keys:
            with self._lock:
                self._put(key, self._judged.get(key, _GONE)[0])

    def findings(self) -> Mapping[tuple[str, ...], int]:
        """Return how many entries have a finding, by namespace and code."""
        with self._lock:
            return self._findings()

    def unfixable(self) -> Mapping[tuple[str, ...], int]:
        """Return how many entries cannot become DNS, by namespace."""
        with self._lock:
            return self._unfixable()

    def expiries(self) -> Mapping[tuple[str, ...], int]:
        """Return when the first exemption of each namespace ends, in seconds since the epoch."""
        with self._lock:
            exempt = self._exempt()
        ends: dict[tuple[str, ...], str] = {}
        for namespace, until in exempt:
            ends[namespace,] = min(until, ends.get((namespace,), until))
        return {namespace: end_of(until) for namespace, until in ends.items()}

    def _put(self, key: Key, entry: ServiceEntry | None) -> None:
        _, codes, unfixable, until = self._judged.pop(key, _GONE)
        verdict = self._judge(entry) if entry else Verdict()
        after = _same(verdict.codes), bool(verdict.unfixable), verdict.exempt_until
        if entry:
            self._judged[key] = (entry, *after)
        namespace = key.namespace
        self._findings.move(((namespace, code) for code in codes), ((namespace, code) for code in after[0]))
        self._unfixable.move([(namespace,)] * unfixable, [(namespace,)] * after[1])
        self._exempt.move([(namespace, until)] * bool(until), [(namespace, after[2])] * bool(after[2]))


class Conflicts:
    """The conflicts at each key, counted by namespace; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, frozenset[tuple[str, str, str]]] = {}

    def put(self, key: Key, found: Iterable[Conflict]) -> tuple[Conflict, ...]:
        """Store the current conflicts at a key, and return the new ones."""
        now = {
            (conflict.emitted.owner.uid, conflict.finding.message, _stranger(conflict)): conflict for conflict in found
        }
        with self._lock:
            before = self._known.pop(key, frozenset())
            if now:
                self._known[key] = frozenset(now)
        return tuple(conflict for identity, conflict in now.items() if identity not in before)

    def counts(self) -> Mapping[tuple[str, ...], int]:
        """Return the number of conflicts, by namespace."""
        with self._lock:
            return Counter((key.namespace,) for key, found in self._known.items() for _ in found)

    def claims(self) -> Mapping[tuple[str, ...], int]:
        """Return the number of conflicts with objects of other namespaces, by namespace and claimant."""
        with self._lock:
            found = Counter(
                (key.namespace, claimant) for key, known in self._known.items() for _, _, claimant in known if claimant
            )
        named, shown = Counter[str](), Counter[tuple[str, ...]]()
        for (namespace, claimant), count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
            named[namespace] += 1
            shown[namespace, claimant if named[namespace] <= CLAIMANTS else OTHERS] += count
        return shown


class Latency:
    """The emission latency: the times at which keys began to wait for their objects; safe for threads.

    While another replica leads, only the last change of a key is kept, because that replica has handled earlier
    changes. So the latency of a change without a leader includes the change of leaders.
    """

    def __init__(
        self, histogram: Histogram, leading: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._histogram = histogram
        self._leading = leading
        self._clock = clock
        self._since: dict[Key, float] = {}

    def changed(self, keys: Iterable[Key]) -> None:
        """Note that a change of entries affects these keys."""
        now, leading = self._clock(), self._leading()
        for key in keys:
            if leading:
                self._since.setdefault(key, now)
            else:
                self._since[key] = now

    def take(self, key: Key) -> float | None:
        """Return the time at which the key began to wait.

        Called at the start of a reconciliation; later changes count again.
        """
        return self._since.pop(key, None)

    def put_back(self, key: Key, since: float | None) -> None:
        """Keep the key waiting, because its reconciliation failed."""
        if since is not None:
            self._since[key] = since

    def written(self, since: float | None) -> None:
        """Record the latency of a key with a write."""
        if since is not None:
            self._histogram.observe(self._clock() - since)


@lru_cache(maxsize=1024)
def _same(codes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the same object for equal codes, to save memory: most entries share a few."""
    return codes


def _stranger(found: Conflict) -> str:
    """Name an object that claims the host from another namespace."""
    claimant = found.claimant
    foreign = found.routes and claimant.key.namespace != found.emitted.key.namespace
    return f"{claimant.kind} {claimant.key}" if foreign else ""


_GONE: _Judged = (None, (), False, "")
