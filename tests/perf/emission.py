"""From a ServiceEntry to its VirtualServices, with the webhook and the controller.

Bursts come in turns, without a controller and with one; the creates go through the webhook in both. "Emitted" is
when the benchmark has seen the last VirtualService on a watch of its own, counted from the first create. "Written by
the clients" is what it takes without any controller: after the creates, the same clients apply the same objects. The
API server's CPU time for that is the floor: no controller that applies one object for each host saves it.
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

from app.core.policy.model import default_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook
from tests.perf import installation
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
RATIO_AIM, WRITTEN_AIM = 1.5, 1.05
BURST = 1000
WAIT_SECONDS = 120.0
NUMBERS = count()
FLAGS = ["--no-leader-elect"]


@dataclass(frozen=True, slots=True)
class Burst:
    """How much a burst took until its end: seconds, and CPU seconds of the API server and of the controller."""

    seconds: float
    api_server: float
    controller: float = 0.0


def run(effort: Effort) -> Iterator[Figure]:
    """One at a time, then bursts, each in a new namespace."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        webhook = stack.enter_context(Webhook(folder, command=installation.command()))
        stack.enter_context(webhook.registered(control_plane))
        with Controller(control_plane, folder, FLAGS, command=installation.command()):
            yield from _singles(control_plane, effort)
        for hosts in (1, 2):
            yield from _bursts(control_plane, folder, hosts, effort)


def with_controller(control_plane: ControlPlane, controller: Controller, size: int, hosts: int = 1) -> Burst:
    """Create entries, and wait until a controller, which runs, has emitted all that belongs to them."""
    entries = [entry(next(NUMBERS), hosts=hosts) for _ in range(size)]
    names = [name for one in entries for name in one["spec"]["hosts"]]
    with Api(control_plane) as api, _namespace(api) as namespace, Sightings(control_plane) as sightings:
        before, spent = api.cpu_seconds(), cpu_seconds(controller.child.pid)
        creates = at_once(control_plane, partial(Api.create_entry, namespace=namespace), entries)
        last = sightings.last_of(names, WAIT_SECONDS)
        return Burst(last - creates.began, api.cpu_seconds() - before, cpu_seconds(controller.child.pid) - spent)


def without_controller(control_plane: ControlPlane, size: int, hosts: int = 1) -> tuple[Burst, Burst]:
    """Create entries, then apply from the same clients what a controller would have.

    What the creates took, and what both took.
    """
    entries = [entry(next(NUMBERS), hosts=hosts) for _ in range(size)]
    with Api(control_plane) as api, _namespace(api) as namespace, Sightings(control_plane):
        before = api.cpu_seconds()
        creates = at_once(control_plane, partial(Api.create_entry, namespace=namespace), entries)
        created = Burst(creates.seconds, api.cpu_seconds() - before)
        plan = desired(map(ServiceEntry.parse, api.entries(namespace)), default_policy())
        before = api.cpu_seconds()
        applies = at_once(control_plane, Api.apply, [one.manifest for one in plan.objects])
        spent = api.cpu_seconds() - before
        return created, Burst(created.seconds + applies.seconds, created.api_server + spent)


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
    created, written, emitted = list[Burst](), list[Burst](), list[Burst]()
    for _ in range(effort.count(TURNS)):
        for bursts, one in zip((created, written), without_controller(control_plane, size, hosts), strict=True):
            bursts.append(one)
        with Controller(control_plane, folder, FLAGS, command=installation.command()) as controller:
            emitted.append(with_controller(control_plane, controller, size, hosts))
    shown = f"{size:,} entries of {hosts} host{'s' if hosts > 1 else ''} from {CLIENTS} clients"
    aims = (RATIO_AIM, WRITTEN_AIM) if hosts == 1 else (None, None)
    yield from _times(shown, aims, *map(_seconds, (created, written, emitted)))
    yield from _costs(size, *map(_api_server, (created, written, emitted)))
    yield Figure("CPU time of the controller per entry", median(one.controller for one in emitted) / size * 1000, "ms")


def _seconds(bursts: list[Burst]) -> float:
    return median(one.seconds for one in bursts)


def _api_server(bursts: list[Burst]) -> float:
    return median(one.api_server for one in bursts)


def _times(
    shown: str, aims: tuple[float | None, float | None], created: float, written: float, emitted: float
) -> Iterator[Figure]:
    yield Figure(f"{shown}, created without a controller", created, "s")
    yield Figure(f"{shown}, emitted", emitted, "s")
    yield Figure(f"{shown}, emitted / created", emitted / created, "", aims[0])
    yield Figure("the same written by the clients / created", written / created, "")
    yield Figure("the same emitted / written by the clients", emitted / written, "", aims[1])


def _costs(size: int, created: float, written: float, emitted: float) -> Iterator[Figure]:
    for seconds, how in (
        (created, "created"),
        (written, "created, written by the clients"),
        (emitted, "created, emitted"),
    ):
        yield Figure(f"CPU time of the API server per entry, {how}", seconds / size * 1000, "ms")
    yield Figure("the same, written by the clients / created", written / created, "")
