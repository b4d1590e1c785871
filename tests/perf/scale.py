"""A mesh of 50,000 ServiceEntries with 60,000 hosts in 500 namespaces, and one namespace of 5,000 entries.

"One change" is the time from the create of an entry to its VirtualService, first beside 100 entries and then beside all
of them. "By hand" is the same where the client writes both objects, in turns: an API server with more objects is slower
itself. "At rest" is the moment when the controller has looked at every name. Memory is the peak of the process.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Self

from app.core.policy.model import default_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from tests.bed.binaries import provide
from tests.bed.build import build, cached
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, ready
from tests.bed.progress import Progress
from tests.bed.tools import OPEN_REPORTS
from tests.perf import installation
from tests.perf.api import Api, at_once
from tests.perf.command import measure
from tests.perf.figures import Effort, Figure
from tests.perf.machine import peak_memory
from tests.perf.objects import Object, entry, host_names
from tests.perf.sightings import Sightings

MANY, CROWD, FEW, CHANGES = 50_000, 5_000, 100, 60
SHARING, TWO_HOSTS = 100, 5
"""Entries of a namespace, and of how many entries one has two hosts."""
MEMORY_AIM, FLAT_AIM = 250.0, 1.2
WAIT_SECONDS = 3600.0
CROWDED, CHANGING, BY_HAND = "crowd", "changing", "by-hand"
NUMBERS = count(10_000_000)
ALONE = "--no-leader-elect"
POLICY = """
apiVersion: serviceentry-guard.io/v1alpha1
kind: GuardPolicy
scope: {excludedNamespaces: [by-hand]}
virtualService: {timeout: %ss}
"""
REPORTS = f"/apis/openreports.io/v1alpha1/namespaces/{CROWDED}/reports/serviceentry-guard"


def run(effort: Effort) -> Iterator[Figure]:
    """Fill a cluster, and then start, restart, replace and disturb controllers beside it."""
    build([OPEN_REPORTS], Progress(sys.stderr))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        yield from Scale(control_plane, folder, effort).figures()


@dataclass(frozen=True, slots=True)
class Change:
    """Seconds from the create of an entry to its VirtualService: with the guard, and by hand."""

    guarded: float
    by_hand: float


class Scale:
    """The cluster, and the policy file of its controllers."""

    def __init__(self, control_plane: ControlPlane, folder: Path, effort: Effort) -> None:
        self._control_plane = control_plane
        self._folder = folder
        self._policy = folder / "policy.yaml"
        self._policy.write_text(POLICY % 30)
        self._many, self._crowd = effort.count(MANY), effort.count(CROWD)
        self._changes = effort.count(CHANGES)

    def figures(self) -> Iterator[Figure]:
        """Yield all figures."""
        for namespace in (CHANGING, BY_HAND):
            self._namespace(namespace)
        self._fill(range(FEW))
        with self._controller() as controller:
            self._rest(controller)
            few = self._one_change()
        self._fill(range(FEW, self._many))
        yield from self._first_start()
        yield from self._next_start(few)
        yield from self._failover()
        yield from self._audit()
        yield from self._reports()

    def _first_start(self) -> Iterator[Figure]:
        began = time.perf_counter()
        with self._controller() as controller:
            self._rest(controller)
            yield self._figure("first start, until all objects are emitted", time.perf_counter() - began, "s")
            yield self._memory(controller, "first start")

    def _next_start(self, few: Change) -> Iterator[Figure]:
        began = time.perf_counter()
        with self._controller() as controller:
            yield self._figure("restart, until the caches are filled", time.perf_counter() - began, "s")
            self._rest(controller)
            yield self._figure("restart, until it is at rest", time.perf_counter() - began, "s")
            yield self._memory(controller, "restart")
            many = self._one_change()
            yield self._figure("one change, median", many.guarded * 1000, "ms")
            yield self._figure(f"the same / beside {FEW} entries", many.guarded / few.guarded, "", FLAT_AIM)
            yield self._figure("one change by hand, median", many.by_hand * 1000, "ms")
            yield self._figure(f"the same / beside {FEW} entries", many.by_hand / few.by_hand, "")
            ratios = many.guarded / many.by_hand, few.guarded / few.by_hand
            yield self._figure("one change / by hand", ratios[0], "")
            yield self._figure(f"the same / beside {FEW} entries", ratios[0] / ratios[1], "", FLAT_AIM)
            began = time.perf_counter()
            self._policy.write_text(POLICY % 31)
            self._wait(lambda: controller.metric("workqueue_depth", name="emission") > 0, "the policy is in force")
            self._rest(controller)
            yield self._figure("a policy that changes every object, until all are written", _since(began), "s")
            yield self._memory(controller, "all of that")

    def _failover(self) -> Iterator[Figure]:
        with self._controller("--leader-elect") as leader:
            self._rest(leader)
            with self._controller("--leader-elect"), Sightings(self._control_plane) as sightings:
                leader.child.stop()
                began = time.perf_counter()
                with Api(self._control_plane) as api:
                    seconds = self._change(api, sightings) - began
                yield self._figure("failover, until a new entry is emitted", seconds, "s")

    def _audit(self) -> Iterator[Figure]:
        with Api(self._control_plane) as api:
            api.create_entry(entry(next(NUMBERS)), CHANGING)  # a resolution to change: it ends with 1
        taken = measure("audit", f"--kubeconfig={self._control_plane.kubeconfig}", f"--policy={self._policy}")
        yield self._figure("audit, time", taken.seconds, "s")
        yield self._figure("audit, peak", taken.mebibytes, "MiB")

    def _reports(self) -> Iterator[Figure]:
        """Measure the report of a namespace in which every entry has a finding."""
        self._namespace(CROWDED)
        crowd = [entry(next(NUMBERS)) for _ in range(self._crowd)]
        at_once(self._control_plane, partial(Api.create_entry, namespace=CROWDED), crowd)
        self._control_plane.kubectl("apply", "--server-side", "--filename", cached(OPEN_REPORTS))
        with self._controller() as controller:
            self._rest(controller)
            began = time.perf_counter()
            self._wait(lambda: self._control_plane.get(REPORTS)[0] == 200, "the report is written")
            yield Figure(f"report of {self._crowd:,} entries, after the controller is at rest", _since(began), "s")
            yield self._memory(controller, "restart with reports")

    def _fill(self, numbers: range) -> None:
        """Create entries, a namespace after the other."""
        for start in range(numbers.start, numbers.stop, SHARING):
            name = f"many-{start // SHARING}"
            self._namespace(name)
            part = range(start, min(start + SHARING, numbers.stop))
            entries = [_entry(number) for number in part]
            at_once(self._control_plane, partial(Api.create_entry, namespace=name), entries)

    def _namespace(self, name: str) -> None:
        with Api(self._control_plane) as api:
            api.create_namespace(name)

    def _controller(self, election: str = ALONE) -> Controller:
        flags = [election, f"--policy={self._policy}"]
        return Patient(self._control_plane, self._folder, flags, command=installation.command())

    def _one_change(self) -> Change:
        with Sightings(self._control_plane) as sightings, Api(self._control_plane) as api:
            guarded, by_hand = list[float](), list[float]()
            for _ in range(self._changes):
                for taken, change in ((guarded, self._change), (by_hand, self._change_by_hand)):
                    began = time.perf_counter()
                    taken.append(change(api, sightings) - began)
            return Change(median(guarded), median(by_hand))

    def _change(self, api: Api, sightings: Sightings) -> float:
        number = next(NUMBERS)
        api.create_entry(entry(number, resolution="DNS"), CHANGING)
        return sightings.last_of(host_names(number), WAIT_SECONDS)

    def _change_by_hand(self, api: Api, sightings: Sightings) -> float:
        number = next(NUMBERS)
        stored = api.create_entry(entry(number, resolution="DNS"), BY_HAND)
        for one in desired([ServiceEntry.parse(stored)], default_policy()).objects:
            del one.manifest["metadata"]["labels"]  # by which a controller would take the object for its own
            api.apply(one.manifest)
        return sightings.last_of(host_names(number), WAIT_SECONDS)

    def _rest(self, controller: Controller) -> None:
        self._wait(lambda: _at_rest(controller), "the controller is at rest")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            with suppress(OSError):  # a controller that is busy may be slow to show its metrics
                if condition():
                    return
            time.sleep(0.1)
        raise TimeoutError(what)

    def _figure(self, what: str, value: float, unit: str, aim: float | None = None) -> Figure:
        return Figure(f"{self._many:,} entries, {what}", value, unit, aim)

    def _memory(self, controller: Controller, what: str) -> Figure:
        return self._figure(f"controller, peak after {what}", peak_memory(controller.child.pid), "MiB", MEMORY_AIM)


class Patient(Controller):
    """A controller that may take long until its caches are filled."""

    def __enter__(self) -> Self:
        """Start, and wait until its caches are filled."""
        self.child.start()
        self.child.wait_until(lambda: ready(self.health_port), "the controller is ready", WAIT_SECONDS)
        return self


def _entry(number: int) -> Object:
    return entry(number, hosts=2 if number % TWO_HOSTS == 0 else 1, resolution="DNS")


def _at_rest(controller: Controller) -> bool:
    """Whether no name waits and no worker has one, twice in a row."""
    looks = [
        controller.metric("workqueue_depth", name="emission")
        + controller.metric("workqueue_unfinished_work_seconds", name="emission")
        for _ in range(2)
    ]
    return not any(looks)


def _since(began: float) -> float:
    return time.perf_counter() - began
