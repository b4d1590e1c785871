"""An audit of a cluster full of ServiceEntries: before the guard was there, and with all that it emits."""

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from app.core.plan import desired
from app.core.policy import default_policy
from app.core.resources import ServiceEntry
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.perf.api import Api, at_once
from tests.perf.figures import Effort, Figure
from tests.perf.objects import entry

SECONDS_AIM, MEMORY_AIM = 30.0, 150.0
MANY = 10_000
NAMESPACE = "many"
PROGRAM = """
import os, sys
from app.cli import main
from tests.perf.machine import peak_memory
try:
    main()
finally:
    print(peak_memory(os.getpid()), file=sys.stderr)
"""
"""The command, and what it took at most: the kernel does not say that of a process that has ended."""


def run(effort: Effort) -> Iterator[Figure]:
    """The whole command, its start included, as text and as JSON; every second entry has resolution NONE."""
    many = effort.count(MANY)
    with ControlPlane(provide()) as control_plane, Api(control_plane) as api:
        api.create_namespace(NAMESPACE)
        entries = [entry(number, hosts=2, resolution="DNS" if number % 2 else "NONE") for number in range(many)]
        at_once(control_plane, partial(Api.create_entry, namespace=NAMESPACE), entries)
        for output in ("text", "json"):
            yield from _audit(control_plane, f"{many:,} entries, nothing emitted, as {output}", output)
        stored = (ServiceEntry.parse(one) for one in api.entries(NAMESPACE))
        plan = desired(stored, default_policy())
        at_once(control_plane, Api.apply, [emitted.manifest for emitted in plan.objects])
        yield from _audit(control_plane, f"{many:,} entries, {len(plan.objects):,} objects emitted, as text", "text")


def _audit(control_plane: ControlPlane, shown: str, output: str) -> Iterator[Figure]:
    arguments = ["audit", f"--kubeconfig={control_plane.kubeconfig}", f"--output={output}"]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    assert done.returncode == 1, done.stderr
    yield Figure(f"{shown}, time", taken, "s", SECONDS_AIM)
    yield Figure(f"{shown}, peak", float(done.stderr), "MiB", MEMORY_AIM)
