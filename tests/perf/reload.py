"""From the edit of a policy file to its effect: an entry admitted, a VirtualService deleted and created again."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import yaml

from app.kube.client import Client, Object
from app.kube.errors import Forbidden
from app.kube.resources import EMITTED, SERVICE_ENTRIES
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import guard
from tests.bed.processes import wait_until
from tests.perf.figures import Effort, Figure
from tests.perf.objects import entry

AIM = 2.0
EDITS = 10
NAMESPACE = "reload"


def run(effort: Effort) -> Iterator[Figure]:
    """The longest of several edits between Warn and Enforce, webhook and controller each."""
    with tempfile.TemporaryDirectory() as temporary, ControlPlane(provide()) as control_plane:
        policy = Path(temporary, "policy.yaml")
        _write(policy, "Enforce")
        control_plane.kubectl("create", "namespace", NAMESPACE)
        with guard(control_plane, policy=policy):
            client = Client.from_kubeconfig(str(control_plane.kubeconfig))
            client.create(SERVICE_ENTRIES, _entry(0, "DNS"))
            admission, emission = zip(*_edits(client, policy, effort.count(EDITS)), strict=True)
    yield Figure("edit to its effect on admission, longest", max(admission), "s", AIM)
    yield Figure("edit to its effect on VirtualServices, longest", max(emission), "s", AIM)


def _edits(client: Client, policy: Path, edits: int) -> Iterator[tuple[float, float]]:
    for number in range(edits):
        mode, resolution = ("Enforce", "DNS") if number % 2 else ("Warn", "NONE")
        _write(policy, mode)
        began = time.monotonic()
        admitted = _seconds(began, partial(_is_admitted, client, number, resolution))
        yield admitted, _seconds(began, partial(_are_emitted, client, number % 2))


def _seconds(began: float, condition: Callable[[], bool]) -> float:
    wait_until(condition, "the edit has its effect", 30)
    return time.monotonic() - began


def _are_emitted(client: Client, count: int) -> bool:
    return len(client.list_page(EMITTED["VirtualService"]).items) == count


def _is_admitted(client: Client, number: int, resolution: str) -> bool:
    """Whether an entry with resolution NONE is stored with this one."""
    manifest = _entry(1 + number, "NONE")
    try:
        stored = client.create(SERVICE_ENTRIES, manifest)
    except Forbidden:  # its two reviews saw two policies
        return False
    client.delete(SERVICE_ENTRIES, NAMESPACE, manifest["metadata"]["name"])
    return bool(stored["spec"]["resolution"] == resolution)


def _entry(number: int, resolution: str) -> Object:
    manifest = entry(number, hosts=1, resolution=resolution)
    manifest["metadata"]["namespace"] = NAMESPACE
    return manifest


def _write(policy: Path, mode: str) -> None:
    document = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "mode": mode}
    policy.write_text(yaml.safe_dump(document))
