"""The maximum memory of both processes, and the memory of the controller for ten thousand ServiceEntries."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook, ready
from tests.perf import installation
from tests.perf.api import Api, at_once
from tests.perf.emission import BURST, FLAGS, with_controller
from tests.perf.figures import Effort, Figure
from tests.perf.machine import peak_memory
from tests.perf.objects import NAMESPACES, entry, host_names
from tests.perf.sightings import Sightings

WEBHOOK_AIM, CONTROLLER_AIM = 55.0, 100.0
MANY = 10_000
WAIT_SECONDS = 600.0
DEPTH = "workqueue_depth"


def run(effort: Effort) -> Iterator[Figure]:
    """After a burst, then with a cluster full of entries: at the first start, which writes, and at one more."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        yield from _after_burst(control_plane, folder, effort)
        many = effort.count(MANY)
        _fill(control_plane, many)
        yield from _first_start(control_plane, folder, many)
        yield from _next_start(control_plane, folder, many)


def _fill(control_plane: ControlPlane, many: int) -> None:
    with Api(control_plane) as api:
        for name in NAMESPACES:
            api.create_namespace(name)
    for number, name in enumerate(NAMESPACES):
        entries = [entry(each, resolution="DNS") for each in range(number, many, len(NAMESPACES))]
        at_once(control_plane, partial(Api.create_entry, namespace=name), entries)


def _after_burst(control_plane: ControlPlane, folder: Path, effort: Effort) -> Iterator[Figure]:
    size = effort.count(BURST)
    controller = Controller(control_plane, folder, FLAGS, command=installation.command())
    with Webhook(folder, command=installation.command()) as webhook, webhook.registered(control_plane), controller:
        with_controller(control_plane, controller, size)
        yield Figure(f"webhook, peak in a burst of {size:,}", peak_memory(webhook.child.pid), "MiB", WEBHOOK_AIM)
        yield Figure(
            f"controller, peak in a burst of {size:,}", peak_memory(controller.child.pid), "MiB", CONTROLLER_AIM
        )


def _first_start(control_plane: ControlPlane, folder: Path, many: int) -> Iterator[Figure]:
    shown = f"controller, first start beside {many:,} entries"
    names = [name for number in range(many) for name in host_names(number)]
    with Sightings(control_plane) as sightings:
        before, began = _requests(control_plane), time.perf_counter()
        controller = Controller(control_plane, folder, FLAGS, command=installation.command())
        with controller.child:
            last = sightings.last_of(names, WAIT_SECONDS)
            yield Figure(f"{shown}, until all are emitted", last - began, "s")
            yield Figure(f"{shown}, requests", _requests(control_plane) - before, "")
            yield Figure(f"{shown}, peak", peak_memory(controller.child.pid), "MiB")


def _next_start(control_plane: ControlPlane, folder: Path, many: int) -> Iterator[Figure]:
    shown = f"controller, start beside {many:,} emitted entries"
    before, began = _requests(control_plane), time.perf_counter()
    controller = Controller(control_plane, folder, FLAGS, command=installation.command())
    with controller.child as child:
        child.wait_until(lambda: ready(controller.health_port), "its caches are filled", WAIT_SECONDS)
        yield Figure(f"{shown}, until its caches are filled", time.perf_counter() - began, "s")
        child.wait_until(
            lambda: controller.metric(DEPTH, name="emission") == 0, "every key was looked at", WAIT_SECONDS
        )
        yield Figure(f"{shown}, until every key was looked at", time.perf_counter() - began, "s")
        yield Figure(f"{shown}, requests", _requests(control_plane) - before, "")
        yield Figure(f"{shown}, peak", peak_memory(child.pid), "MiB")


def _requests(control_plane: ControlPlane) -> int:
    with Api(control_plane) as api:
        return api.requests()
