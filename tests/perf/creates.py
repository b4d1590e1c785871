"""Creates of ServiceEntries, in turns, in namespaces with different things between a client and what is stored."""

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import NO_CONDITIONS, Conditions, Webhook
from tests.bed.processes import wait_until
from tests.perf.api import Api
from tests.perf.figures import Figure, p99
from tests.perf.objects import entry


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace, how figures name what stands before it, and what that does to every entry."""

    name: str
    shown: str
    labels: Mapping[str, str] = field(default_factory=dict)
    reviews: int = 0
    """How often webhooks are asked about a create."""
    repairs: bool = False
    """Whether an entry with resolution NONE is stored with DNS."""


class Creates:
    """A control plane of its own, and one connection to it, for as long as its context lasts."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._numbers = count()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.control_plane = stack.enter_context(ControlPlane(provide()))
            self._api = stack.enter_context(Api(self.control_plane))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add_webhook(
        self,
        labels: Mapping[str, str],
        command: Sequence[str],
        arguments: Sequence[str] = (),
        conditions: Conditions = NO_CONDITIONS,
    ) -> None:
        """Start a webhook that is asked about creates in the namespaces with these labels: twice, or by conditions."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        webhook = self._stack.enter_context(Webhook(folder, arguments, command))
        self._stack.enter_context(webhook.registered(self.control_plane, dict(labels), conditions=conditions))

    def open(self, places: Iterable[Place]) -> None:
        """Make the namespaces, and wait until whatever belongs before each stands there."""
        for place in places:
            self._api.create_namespace(place.name, **place.labels)
            wait_until(partial(self._is_open, place), f"a create {place.shown} is as it should be")

    def turns(self, places: Sequence[Place], resolution: str, turns: int) -> dict[str, list[float]]:
        """Seconds of each create by place: one in each of them, and that `turns` times."""
        taken: dict[str, list[float]] = {place.name: [] for place in places}
        before = self._api.reviews()
        for _ in range(turns):
            for place in places:
                taken[place.name].append(self._seconds(place, resolution))
        asked = self._api.reviews() - before
        assert asked == turns * sum(place.reviews for place in places), "not every webhook is asked where it should be"
        return taken

    def _seconds(self, place: Place, resolution: str) -> float:
        given = entry(next(self._numbers), resolution=resolution)
        began = time.perf_counter()
        stored = self._api.create_entry(given, place.name)
        seconds = time.perf_counter() - began
        expected = "DNS" if place.repairs else resolution
        assert stored["spec"]["resolution"] == expected, f"a create {place.shown} is not as it should be"
        return seconds

    def _is_open(self, place: Place) -> bool:
        before = self._api.reviews()
        stored = self._api.create_entry(entry(next(self._numbers)), place.name, "?dryRun=All")
        asked = self._api.reviews() - before
        return asked == place.reviews and (stored["spec"]["resolution"] == "DNS") == place.repairs


def spread(shown: str, values: Sequence[float]) -> Iterator[Figure]:
    """Median and 99th percentile of these seconds."""
    yield Figure(f"{shown}, median", median(values) * 1000, "ms")
    yield Figure(f"{shown}, 99th percentile", p99(values) * 1000, "ms")
