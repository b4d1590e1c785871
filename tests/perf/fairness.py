"""How long one namespace waits for its VirtualService while another one keeps the controller busy.

In turns: alone; beside a namespace whose writes an admission policy refuses; beside one whose objects are just being
written; beside one in which an annotation of an entry changes that shares its hosts with 59 others. Limits are
raised, for by default no namespace may ask for that much.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import yaml

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller
from tests.bed.refusals import LABEL, refusing
from tests.perf import installation
from tests.perf.api import ISTIO, Api
from tests.perf.figures import Effort, Figure, p99
from tests.perf.machine import cpu_seconds
from tests.perf.objects import Object, entry, host_names
from tests.perf.sightings import Sightings

QUIET = "quiet"
TURNS = 3
SINGLES = 40
WARMING = 20
NAMES = 20_000
HOSTS = 256
SHARING = 60
WAIT_SECONDS = 300.0
LOOK_SECONDS = 0.2
COUNTED_SECONDS = 20.0
"""For how long refused calls are counted."""
RATIO_AIM, CALLS_AIM = 2.0, 5.0
POLICY = {
    "apiVersion": "serviceentry-guard.io/v1alpha1",
    "kind": "GuardPolicy",
    "limits": {"namespaceObjects": 1_000_000},
}
NUMBERS = count(1_000_000)
"""Of entries whose hosts no other benchmark has."""


def run(effort: Effort) -> Iterator[Figure]:
    """Turns, until each state was measured a few times; medians of all its turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        control_plane.kubectl("create", "--filename=-", stdin=json.dumps(refusing()))
        policy = folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(POLICY))
        flags = ["--no-leader-elect", f"--policy={policy}"]
        controller = stack.enter_context(Controller(control_plane, folder, flags, command=installation.command()))
        api = stack.enter_context(Api(control_plane))
        sightings = stack.enter_context(Sightings(control_plane))
        yield from _Bench(api, controller, sightings, effort).figures()


class _Bench:
    """A controller, and what one namespace waits for."""

    def __init__(self, api: Api, controller: Controller, sightings: Sightings, effort: Effort) -> None:
        self._api = api
        self._controller = controller
        self._sightings = sightings
        self._singles = effort.count(SINGLES)
        self._turns = effort.count(TURNS)
        self._entries = max(2, effort.count(NAMES) // HOSTS)
        self._sharing = effort.count(SHARING)

    def figures(self) -> Iterator[Figure]:
        self._api.create_namespace(QUIET)
        self._measure(WARMING)
        alone, refused, waiting, calls = list[float](), list[float](), list[float](), list[float]()
        for _ in range(self._turns):
            alone += self._measure()
            with self._beside(**LABEL):
                calls += self._calls(refused)
            alone += self._measure()
            with self._beside():
                waiting += self._measure()
        names = f"{self._entries * HOSTS:,} names of another namespace"
        yield from _figures("alone", alone, alone, None)
        yield from _figures(f"beside {names} that are refused", refused, alone, RATIO_AIM)
        yield Figure("calls that are refused", median(calls), "calls/s", CALLS_AIM)
        yield from _figures(f"beside {names} that are being written", waiting, alone, RATIO_AIM)
        yield from self._change(alone)

    def _measure(self, times: int | None = None) -> list[float]:
        """How long it takes each time from the return of a create to its VirtualService, in milliseconds."""
        taken = []
        for _ in range(times or self._singles):
            number = next(NUMBERS)
            self._api.create_entry(entry(number, resolution="DNS"), QUIET)
            returned = time.perf_counter()
            taken.append((self._sightings.last_of(host_names(number), WAIT_SECONDS) - returned) * 1000)
        return taken

    def _calls(self, taken: list[float]) -> Iterator[float]:
        """Measure beside refused names, once all of them are, and yield the refused calls of a second."""
        self._wait(lambda: self._controller.metric("serviceentry_guard_refused_objects") >= self._entries * HOSTS - 8)
        before, began = self._refused(), time.monotonic()
        taken += self._measure()
        time.sleep(max(0.0, COUNTED_SECONDS - (time.monotonic() - began)))
        yield (self._refused() - before) / (time.monotonic() - began)

    def _refused(self) -> float:
        return self._controller.metric("rest_client_requests_total", verb="apply", code="403")

    @contextmanager
    def _beside(self, **labels: str) -> Iterator[str]:
        """A namespace full of entries, for as long as this lasts; then all is calm again."""
        namespace = f"busy-{next(NUMBERS)}"
        self._api.create_namespace(namespace, **labels)
        for _ in range(self._entries):
            self._api.create_entry(_wide(next(NUMBERS)), namespace)
        yield namespace
        self._api.call("DELETE", f"{ISTIO}/namespaces/{namespace}/serviceentries")
        self._wait(lambda: self._controller.metric("workqueue_depth", name="emission") == 0)
        self._api.empty_namespace(namespace)
        time.sleep(1)

    def _change(self, alone: list[float]) -> Iterator[Figure]:
        namespace, shared = f"busy-{next(NUMBERS)}", next(NUMBERS)
        self._api.create_namespace(namespace)
        for number in range(self._sharing):
            one = _wide(shared)
            one["metadata"]["name"] = f"{one['metadata']['name']}-{number}"
            self._api.create_entry(one, namespace)
        last = list(_wide(shared)["spec"]["hosts"])
        self._sightings.last_of(last, WAIT_SECONDS)
        self._wait(lambda: self._controller.metric("workqueue_depth", name="emission") == 0)
        time.sleep(1)
        before, taken = cpu_seconds(self._controller.child.pid), list[float]()
        for turn in range(self._turns):
            self._annotate(namespace, f"{_wide(shared)['metadata']['name']}-{turn % self._sharing}", str(turn + 1))
            taken += self._measure(max(2, self._singles // 4))
        self._wait(lambda: self._controller.metric("workqueue_depth", name="emission") == 0)
        spent = (cpu_seconds(self._controller.child.pid) - before) / self._turns
        what = f"an annotation on one of {self._sharing} entries of the same {HOSTS} hosts"
        yield Figure(f"{what}, CPU time of the controller", spent, "s", 1.0)
        yield from _figures(f"beside {what}", taken, alone, RATIO_AIM)

    def _annotate(self, namespace: str, name: str, attempts: str) -> None:
        path = f"{ISTIO}/namespaces/{namespace}/serviceentries/{name}"
        patch = {"metadata": {"annotations": {"serviceentry-guard.io/attempts": attempts}}}
        self._api.send("PATCH", path, patch, "application/merge-patch+json")

    def _wait(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError("the controller does not come to rest")
            time.sleep(LOOK_SECONDS)


def _figures(what: str, taken: list[float], alone: list[float], aim: float | None) -> Iterator[Figure]:
    yield Figure(f"{what}, median", median(taken), "ms")
    yield Figure(f"{what}, 99th percentile", p99(taken), "ms")
    if aim:
        yield Figure("the same / alone, medians", median(taken) / median(alone), "", aim)


def _wide(number: int) -> Object:
    """An entry with as many hosts as Istio's schema takes."""
    one = entry(number, resolution="DNS")
    one["spec"]["hosts"] = [f"h{host}-{number}.fairness.example.com" for host in range(HOSTS)]
    return one
