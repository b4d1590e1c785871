"""A figure: one measured number and its target."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly to measure: 1 for figures that count, less to try a benchmark out."""

    share: float = 1.0

    def count(self, full: int) -> int:
        """That share of a full count, at least 2."""
        return max(2, round(full * self.share))


@dataclass(frozen=True, slots=True)
class Figure:
    """`aim` is the most that `value` should be; None where there is no aim."""

    name: str
    value: float
    unit: str
    aim: float | None = None

    @property
    def met(self) -> bool:
        """Whether the figure meets its target."""
        return self.aim is None or self.value <= self.aim

    @property
    def measured(self) -> str:
        """The value with its unit, in three digits or so."""
        return f"{_number(self.value)} {self.unit}".rstrip()

    @property
    def judged(self) -> str:
        """The aim, and whether it is met."""
        if self.aim is None:
            return ""
        verdict = "met" if self.met else "MISSED"
        return f"≤ {self.aim:g} {self.unit}".rstrip() + f": {verdict}"


Benchmark = Callable[[Effort], Iterator[Figure]]


def p99(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100, method="inclusive")[98]


def as_text(figures: Iterable[Figure]) -> Iterator[str]:
    """A line for each figure."""
    for figure in figures:
        yield f"  {figure.name:<78} {figure.measured:>12}   {figure.judged}".rstrip()


def as_markdown(figures: Iterable[Figure]) -> Iterator[str]:
    """A table."""
    yield "| figure | measured | target |"
    yield "|---|---:|---|"
    for figure in figures:
        yield f"| {figure.name} | {figure.measured} | {figure.judged} |"


def _number(value: float) -> str:
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
