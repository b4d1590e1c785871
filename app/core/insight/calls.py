"""Calls in a mesh: the number of calls to a host, their endings and durations, from Istio's metrics.

The figures come from a reader (`app.prometheus`); everything here is arithmetic. Figures are stored by host and
calling namespace. Only hosts of ServiceEntries are stored, so that they bound the memory.
"""

import enum
import math
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.core.resources.hosts import canonical_host
from app.core.resources.records import Record

DAY, UNITS = 86_400, {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORDS = {"m": "minute", "h": "hour", "d": "day", "w": "week"}


class Ending(enum.Enum):
    """The ways in which a call fails: Envoy's response flag, and its meaning."""

    TERMINATED = "UC", "ended with connection termination"
    UNREACHED = "UF", "ended because no connection could be made"
    EXHAUSTED = "URX", "failed after all tries"
    TIMED_OUT = "UT", "ended at a timeout"
    LEFT = "DC", "ended because the client closed the connection"
    ANSWERED = "5xx", "were answered with 5xx"

    @property
    def flag(self) -> str:
        """The response flag."""
        return self.value[0]

    @property
    def words(self) -> str:
        """What happened to the calls."""
        return self.value[1]


_FLAGS = {ending.flag: ending for ending in Ending}


def ending(flags: str) -> Ending | None:
    """Return the ending of a call from Envoy's response flags, such as "URX,UC"; None if no flag is a known failure.

    Of several flags, the one about the connection is used.
    """
    present = {_FLAGS[flag] for flag in flags.split(",") if flag in _FLAGS}
    return next((kind for kind in Ending if kind in present), None)


class Window(Record):
    """The time range of figures: a number and a unit in Prometheus format, such as 7d."""

    text: str

    @property
    def seconds(self) -> int:
        """The length in seconds."""
        return int(self.text[:-1]) * UNITS[self.text[-1]]

    @property
    def words(self) -> str:
        """Return the text for a sentence: 7 days."""
        number, unit = int(self.text[:-1]), _WORDS[self.text[-1]]
        return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


@dataclass(slots=True)
class Figures:
    """The calls of one host from one namespace."""

    calls: float = 0.0
    connections: float = 0.0
    """TCP connections, whose calls are unknown."""
    endings: dict[Ending, float] = field(default_factory=dict)
    within: "array[float]" = field(default_factory=lambda: array("d"))
    """The number of calls up to each bound of the histogram, in the order in which the bounds were added."""

    @property
    def failed(self) -> float:
        """The number of failed calls."""
        return sum(self.endings.values())

    def add(self, other: "Figures") -> None:
        """Count the calls of another one too."""
        self.calls += other.calls
        self.connections += other.connections
        for how, number in other.endings.items():
            self.endings[how] = self.endings.get(how, 0.0) + number
        for place, number in enumerate(other.within):
            self.put(place, number)

    def put(self, place: int, number: float) -> None:
        """Count calls below the bound that became known at a place."""
        if len(self.within) <= place:
            self.within.extend([0.0] * (place + 1 - len(self.within)))
        self.within[place] += number


class Durations(Record):
    """A histogram: the number of calls up to each bound in milliseconds, ascending. The last bound has all calls."""

    bounds: tuple[float, ...]
    within: tuple[float, ...]

    @property
    def calls(self) -> float:
        """The number of calls in the histogram."""
        return self.within[-1] if self.within else 0.0

    def longer(self, milliseconds: float) -> tuple[float, float]:
        """Return the minimum and maximum number of calls that took longer: there may be no bound at that value."""
        if not self.within:
            return 0.0, 0.0
        place = bisect_left(self.bounds, milliseconds)
        below = self.within[place] if place < len(self.within) else self.calls
        if place < len(self.bounds) and self.bounds[place] == milliseconds:
            return self.calls - below, self.calls - below
        above = self.within[place - 1] if place else 0.0
        return self.calls - below, self.calls - above

    def keeping(self, part: float) -> float | None:
        """Return the smallest bound that contains at least this share of the calls; None if it is infinite."""
        for bound, within in zip(self.bounds, self.within, strict=True):
            if within >= part * self.calls and math.isfinite(bound):
                return bound
        return None


class Elsewhere(Record):
    """Calls to a host without a ServiceEntry: Envoy's cluster, and the calling namespace."""

    host: str
    cluster: str
    namespace: str
    calls: float = 0.0
    connections: float = 0.0


class Traffic:
    """The figures of the requested hosts, over one window."""

    def __init__(self, window: Window, hosts: Collection[str]) -> None:
        """Create figures for a window and canonical hosts; calls to other hosts are dropped."""
        self.window = window
        self.elsewhere: list[Elsewhere] = []
        self._hosts = hosts
        self._bounds: dict[float, int] = {}
        self._figures: dict[str, dict[str, Figures]] = {}

    def at(self, host: str, namespace: str) -> Figures | None:
        """Return the figures of a host and a calling namespace; None for a host that was not requested."""
        canonical = canonical_host(host)
        if canonical not in self._hosts:
            return None
        return self._figures.setdefault(canonical, {}).setdefault(namespace, Figures())

    def bound(self, milliseconds: float) -> int:
        """Return the index of a bound of the histogram."""
        return self._bounds.setdefault(milliseconds, len(self._bounds))

    def callers(self, host: str) -> Mapping[str, Figures]:
        """Return the figures of a canonical host, by the namespace of the caller."""
        return self._figures.get(host, {})

    def durations(self, figures: Figures) -> Durations:
        """Return the histogram of some figures."""
        known = sorted((bound, place) for bound, place in self._bounds.items() if place < len(figures.within))
        counts = _rising(figures.within[place] for _, place in known)
        return Durations(tuple(bound for bound, _ in known), tuple(counts))


def together(figures: Iterable[Figures]) -> Figures:
    """Count the calls of several."""
    total = Figures()
    for part in figures:
        total.add(part)
    return total


def _rising(counts: Iterable[float]) -> Iterator[float]:
    """Yield counts that never fall, because counters that are read at different times may differ slightly."""
    most = 0.0
    for number in counts:
        most = max(most, number)
        yield most
