"""From a ServiceEntry to its VirtualServices, with the webhook and the controller.

Bursts come in turns, without a controller and with one; the creates go through the webhook in both. "Emitted" is
when the benchmark has seen the last VirtualService on a watch of its own, counted from the first create. "Written by
the clients" is what it takes without any controller: after the creates, the same clients apply the same objects.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from app.core.plan import desired
from app.core.policy import default_policy
from app.core.resources import ServiceEntry
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.guard import Controller, Webhook
from tests.perf.api import CLIENTS, Api, at_once
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
    """Seconds from its first create: until the last create had returned, and until all VirtualServices were there."""

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


def with_controller(control_plane: ControlPlane, size: int, hosts: int = 1) -> Burst:
    """Create entries, and wait until a controller, which runs, has emitted all that belongs to them."""
    entries = [entry(next(NUMBERS), hosts=hosts) for _ in range(size)]
    names = [name for one in entries for name in one["spec"]["hosts"]]
    with Api(control_plane) as api, _namespace(api) as namespace, Sightings(control_plane) as sightings:
        before = api.cpu_seconds()
        creates = at_once(control_plane, partial(Api.create_entry, namespace=namespace), entries)
        last = sightings.last_of(names, WAIT_SECONDS)
        return Burst(creates.seconds, last - creates.began, api.cpu_seconds() - before)


def without_controller(control_plane: ControlPlane, size: int, hosts: int = 1) -> Burst:
    """Create entries, then apply from the same clients what a controller would have: the least that it can take."""
    entries = [entry(next(NUMBERS), hosts=hosts) for _ in range(size)]
    with Api(control_plane) as api, _namespace(api) as namespace, Sightings(control_plane):
        before = api.cpu_seconds()
        creates = at_once(control_plane, partial(Api.create_entry, namespace=namespace), entries)
        spent = api.cpu_seconds() - before
        plan = desired(map(ServiceEntry.parse, api.entries(namespace)), default_policy())
        applies = at_once(control_plane, Api.apply, [one.manifest for one in plan.objects])
        return Burst(creates.seconds, creates.seconds + applies.seconds, spent)


@contextmanager
def _namespace(api: Api) -> Iterator[str]:
    name = f"burst-{next(NUMBERS)}"
    api.create_namespace(name)
    yield name
    api.empty_namespace(name)


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
    api.create_entry(entry(number), SINGLE)
    returned = time.perf_counter()
    return sightings.last_of(host_names(number), WAIT_SECONDS) - returned


def _bursts(control_plane: ControlPlane, folder: Path, hosts: int, effort: Effort) -> Iterator[Figure]:
    size = effort.count(BURST)
    without_controller(control_plane, effort.count(WARMING), hosts)
    alone, guarded, spent = list[Burst](), list[Burst](), list[float]()
    for _ in range(effort.count(TURNS)):
        alone.append(without_controller(control_plane, size, hosts))
        with Controller(control_plane, folder, FLAGS) as controller:
            before = cpu_seconds(controller.child.pid)
            guarded.append(with_controller(control_plane, size, hosts))
            spent.append(cpu_seconds(controller.child.pid) - before)
    shown = f"{size:,} entries of {hosts} host{'s' if hosts > 1 else ''} from {CLIENTS} clients"
    created, emitted = median(one.created for one in alone), median(one.emitted for one in guarded)
    yield Figure(f"{shown}, created without a controller", created, "s")
    yield Figure(f"{shown}, emitted", emitted, "s")
    yield Figure(f"{shown}, emitted / created", emitted / created, "", RATIO_AIM if hosts == 1 else None)
    yield Figure("the same written by the clients / created", median(one.emitted for one in alone) / created, "")
    for bursts, how in ((alone, "created"), (guarded, "created and emitted")):
        milliseconds = median(one.api_server for one in bursts) / size * 1000
        yield Figure(f"CPU time of the API server per entry, {how}", milliseconds, "ms")
    yield Figure("CPU time of the controller per entry", median(spent) / size * 1000, "ms")
