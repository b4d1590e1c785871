"""From a ServiceEntry to its VirtualServices, with the webhook and the controller.

Bursts come in turns, without a controller and with one; the creates go through the webhook in both. "Emitted" is
when the benchmark has seen the last VirtualService on a watch of its own, counted from the first create.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.guard import Controller, Webhook
from tests.perf.api import CLIENTS, Api, create_all
from tests.perf.figures import Effort, Figure, p99
from tests.perf.machine import cpu_seconds
from tests.perf.objects import entry, host_names
from tests.perf.sightings import Sightings

SINGLE = "single"
SINGLES = 300
WARMING = 50
TURNS = 5
MEDIAN_AIM, P99_AIM = 25.0, 100.0
RATIO_AIM = 1.5
BURST = 1000
WAIT_SECONDS = 120.0
NUMBERS = count()
FLAGS = ["--no-leader-elect"]


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds since its first create: when the last create had returned, and when the last emission was seen."""

    created: float
    emitted: float
    api_server: float
    """CPU seconds that the API server spent on it."""


def run(effort: Effort) -> Iterator[Figure]:
    """One at a time, then bursts, each in a new namespace."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        webhook = stack.enter_context(Webhook(folder))
        stack.enter_context(webhook.registered(control_plane))
        with Controller(control_plane, folder, FLAGS):
            yield from _singles(control_plane, effort)
        for hosts in (1, 2):
            yield from _bursts(control_plane, folder, hosts, effort)


def burst(control_plane: ControlPlane, size: int, hosts: int = 1, *, emitting: bool = True) -> Burst:
    """Create entries of so many hosts each from 8 clients and, if a controller is there, wait for what it emits."""
    numbers = [next(NUMBERS) for _ in range(size)]
    entries = [entry(number, hosts=hosts) for number in numbers]
    names = [name for number in numbers for name in host_names(number, hosts)]
    namespace = f"burst-{numbers[0]}"
    with Api(control_plane) as api, Sightings(control_plane) as sightings:
        api.create_namespace(namespace)
        spent = api.cpu_seconds()
        began, ended = create_all(control_plane, namespace, entries)
        last = sightings.last_of(names, WAIT_SECONDS) if emitting else ended
        spent = api.cpu_seconds() - spent
        api.empty_namespace(namespace)
    return Burst(ended - began, last - began, spent)


def _singles(control_plane: ControlPlane, effort: Effort) -> Iterator[Figure]:
    with Api(control_plane) as api, Sightings(control_plane) as sightings:
        api.create_namespace(SINGLE)
        for _ in range(WARMING):
            _single(api, sightings)
        taken = [_single(api, sightings) * 1000 for _ in range(effort.count(SINGLES))]
        api.empty_namespace(SINGLE)
    yield Figure("one at a time, after the create returns, median", median(taken), "ms", MEDIAN_AIM)
    yield Figure("one at a time, after the create returns, 99th percentile", p99(taken), "ms", P99_AIM)


def _single(api: Api, sightings: Sightings) -> float:
    number = next(NUMBERS)
    api.create_entry(SINGLE, entry(number))
    returned = time.perf_counter()
    return sightings.last_of(host_names(number), WAIT_SECONDS) - returned


def _bursts(control_plane: ControlPlane, folder: Path, hosts: int, effort: Effort) -> Iterator[Figure]:
    size = effort.count(BURST)
    burst(control_plane, effort.count(WARMING), hosts, emitting=False)
    alone, guarded, spent = list[Burst](), list[Burst](), list[float]()
    for _ in range(effort.count(TURNS)):
        alone.append(burst(control_plane, size, hosts, emitting=False))
        with Controller(control_plane, folder, FLAGS) as controller:
            before = cpu_seconds(controller.child.pid)
            guarded.append(burst(control_plane, size, hosts))
            spent.append(cpu_seconds(controller.child.pid) - before)
    shown = f"{size:,} entries of {hosts} host{'s' if hosts > 1 else ''} from {CLIENTS} clients"
    creates, emitted = median(one.created for one in alone), median(one.emitted for one in guarded)
    yield Figure(f"{shown}, created without a controller", creates, "s")
    yield Figure(f"{shown}, emitted", emitted, "s")
    yield Figure(f"{shown}, emitted / created", emitted / creates, "", RATIO_AIM if hosts == 1 else None)
    for bursts, how in ((alone, "without a controller"), (guarded, "emission included")):
        milliseconds = median(one.api_server for one in bursts) / size * 1000
        yield Figure(f"CPU time of the API server per entry, {how}", milliseconds, "ms")
    yield Figure("CPU time of the controller per entry", median(spent) / size * 1000, "ms")
