"""All trials of one run, and what Istio says of the cluster after it."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Self, TextIO

from tests.bed.binaries import Binaries, MeshBinaries
from tests.mesh.ambient_mesh import AmbientMesh
from tests.mesh.arms import Arm
from tests.mesh.cases import CASES_IN_MESH
from tests.mesh.istioctl import Istioctl, Message
from tests.mesh.mesh import Mesh
from tests.mesh.scenarios import (
    ambient,
    ambient_harmless,
    egress,
    firewall,
    harmless,
    neighbours,
    origination,
    rotation,
    shapes,
    slow,
    termination,
    unsafe,
)
from tests.mesh.trial import Measured, Trial

SCENARIOS: dict[str, Callable[[Mesh], Iterator[Trial]]] = {
    "termination": termination.trials,
    "rotation": rotation.trials,
    "firewall": firewall.trials,
    "encrypted": firewall.encrypted_trials,
    "origination": origination.trials,
    "unsafe": unsafe.trials,
    "slow": slow.trials,
    "shapes": shapes.trials,
    "harmless": harmless.trials,
    "neighbours": neighbours.trials,
}

AMBIENT: dict[str, Callable[[AmbientMesh], Iterator[Trial]]] = {
    "waypoint": ambient.trials,
    "waypoint-harmless": ambient_harmless.trials,
    "egress": egress.trials,
}
"""The scenarios of an ambient mesh."""
HURRYING_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Report:
    """What one run brought."""

    measured: list[Measured]
    emitted: list[str]
    """Every object that the guard wrote, as istioctl writes it: `VirtualService name.namespace`."""
    messages: list[Message]
    """What Istio's analysis says of the live cluster."""

    def line(self, scenario: str, circumstances: object, arm: Arm) -> Measured:
        """The line of the table for these. Raises ValueError unless there is exactly one."""
        wanted = (scenario, str(circumstances), arm.label)
        (line,) = [one for one in self.measured if (one.scenario, one.circumstances, one.arm) == wanted]
        return line

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The way back."""
        measured = [Measured(**one) for one in values["measured"]]
        return cls(measured, values["emitted"], [Message(**one) for one in values["messages"]])


def measure(binaries: Binaries, tools: MeshBinaries, names: Sequence[str], out: TextIO) -> Report:
    """Run the trials of these scenarios (none named: all), telling `out` how far it is."""
    begun = time.monotonic()

    def say(sentence: str) -> None:
        print(f"mesh: {time.monotonic() - begun:5.1f} s {sentence}", file=out, flush=True)

    with Mesh(binaries, tools) as mesh:
        say("API server, istiod, guard and sidecars are up")
        trials = [trial for name in names or SCENARIOS for trial in SCENARIOS[name](mesh)]
        written = [manifest for trial in trials for manifest in trial.manifests]
        mesh.apply([*written, *(case.manifest for case in CASES_IN_MESH)])
        say(f"{len(trials)} trials begin")
        measured = _run(trials, say)
        say("Istio analyses what is there")
        emitted = sorted(f"{kind} {name}.{namespace}" for kind, namespace, name in mesh.emitted())
        messages = Istioctl(tools.istioctl).analyze(mesh.control_plane.kubeconfig)
        say("done")
    return Report(measured, emitted, messages)


def measure_ambient(binaries: Binaries, tools: MeshBinaries, names: Sequence[str], out: TextIO) -> Report:
    """Run the trials of an ambient mesh, which is another one."""
    begun = time.monotonic()

    def say(sentence: str) -> None:
        print(f"mesh: {time.monotonic() - begun:5.1f} s {sentence}", file=out, flush=True)

    with AmbientMesh(binaries, tools) as mesh:
        say("API server, istiod, guard, waypoints and ztunnels are up")
        trials = [trial for name in names or AMBIENT for trial in AMBIENT[name](mesh)]
        mesh.apply(manifest for trial in trials for manifest in trial.manifests)
        say(f"{len(trials)} trials begin")
        measured = _run(trials, say)
        emitted = sorted(f"{kind} {name}.{namespace}" for kind, namespace, name in mesh.emitted())
        messages = Istioctl(tools.istioctl).analyze(mesh.control_plane.kubeconfig)
        say("done")
    return Report(measured, emitted, messages)


def _run(trials: Sequence[Trial], say: Callable[[str], None]) -> list[Measured]:
    """First those that hurry, a few at a time; then all those that wait, at once."""
    hurrying = [trial for trial in trials if not trial.waits]
    waiting = [trial for trial in trials if trial.waits]
    measured = dict[int, Measured]()
    for some, width in ((hurrying, HURRYING_AT_ONCE), (waiting, len(waiting))):
        with ThreadPoolExecutor(max(width, 1)) as pool:
            measured |= zip(map(id, some), pool.map(Trial.run, some), strict=True)
        say(f"{len(some)} are done")
    return [measured[id(trial)] for trial in trials]
