"""Metric types of our own: samples that are read at a scrape, and counters without a lock for each request."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Readings = Mapping[tuple[str, ...], float]
"""Values by the values of the labels."""
Family = type[CounterMetricFamily] | type[GaugeMetricFamily]


class Reading(Collector):
    """A metric whose samples are read from `source` at each scrape, so that a deleted object leaves no series."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...] = (), *, counter: bool = False
    ) -> None:
        self.source: Callable[[], Readings] = dict
        self.labels = labels
        self._name = name
        self._text = text
        self._family: Family = CounterMetricFamily if counter else GaugeMetricFamily
        registry.register(self)

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the family without samples, because the source may not be ready at registration."""
        yield self._family(self._name, self._text, labels=self.labels)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the family with the current samples."""
        for family in self.describe():
            for labels, value in self.source().items():
                family.add_metric(labels, value)
            yield family


class FastCounter(Collector):
    """A counter for one thread, without a lock: it takes a tenth of the time, and is used in each request."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._name = name
        self._text = text
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def inc(self, labels: tuple[str, ...]) -> None:
        """Count one more with these values of the labels."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Yield the family without samples."""
        yield CounterMetricFamily(self._name, self._text, labels=self.labels)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the family with its samples."""
        for family in self.describe():
            for labels, count in self._counts.items():
                family.add_metric(labels, count)
            yield family


class FastHistogram(Collector):
    """A histogram for one thread; `buckets` are upper bounds in ascending order."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> None:
        self.labels = labels
        self.buckets = buckets
        self._name = name
        self._text = text
        self._observed: dict[tuple[str, ...], list[float]] = {}  # counts of the buckets, of what is above, and the sum
        registry.register(self)

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value with these values of the labels."""
        if (numbers := self._observed.get(labels)) is None:
            numbers = self._observed[labels] = [0] * (len(self.buckets) + 2)
        numbers[bisect_left(self.buckets, value)] += 1
        numbers[-1] += value

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family without samples."""
        yield HistogramMetricFamily(self._name, self._text, labels=self.labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family with its samples."""
        bounds = [*map(floatToGoString, self.buckets), "+Inf"]
        for family in self.describe():
            for labels, (*counts, total) in self._observed.items():
                family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
            yield family
