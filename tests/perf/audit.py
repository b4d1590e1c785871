"""An audit of a cluster with very many ServiceEntries: before the guard is installed, and with all its objects."""

from collections.abc import Iterator
from functools import partial

from app.core.policy.model import default_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.perf.api import Api, at_once
from tests.perf.command import measure
from tests.perf.figures import Effort, Figure
from tests.perf.objects import NAMESPACES, entry

SECONDS_AIM, MEMORY_AIM = 30.0, 150.0
MANY = 10_000


def run(effort: Effort) -> Iterator[Figure]:
    """The whole command, its start included, as text and as JSON; every second entry has resolution NONE."""
    many = effort.count(MANY)
    with ControlPlane(provide()) as control_plane, Api(control_plane) as api:
        for place, namespace in enumerate(NAMESPACES):
            api.create_namespace(namespace)
            numbers = range(place, many, len(NAMESPACES))
            entries = [entry(number, hosts=2, resolution="DNS" if number // 10 % 2 else "NONE") for number in numbers]
            at_once(control_plane, partial(Api.create_entry, namespace=namespace), entries)
        for output in ("text", "json"):
            yield from _audit(control_plane, f"{many:,} entries, nothing emitted, as {output}", output)
        stored = (ServiceEntry.parse(one) for namespace in NAMESPACES for one in api.entries(namespace))
        plan = desired(stored, default_policy())
        at_once(control_plane, Api.apply, [emitted.manifest for emitted in plan.objects])
        yield from _audit(control_plane, f"{many:,} entries, {len(plan.objects):,} objects emitted, as text", "text")


def _audit(control_plane: ControlPlane, shown: str, output: str) -> Iterator[Figure]:
    taken = measure("audit", f"--kubeconfig={control_plane.kubeconfig}", f"--output={output}")
    yield Figure(f"{shown}, time", taken.seconds, "s", SECONDS_AIM)
    yield Figure(f"{shown}, peak", taken.mebibytes, "MiB", MEMORY_AIM)
