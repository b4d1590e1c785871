"""What a create takes with the webhook, with either engine of the backstop, and with nothing: the same, in turns."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from app.core.backstop import Engine, backstop
from app.core.policy import default_policy
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.e2e.backstops import LABEL, confined
from tests.guard import Webhook
from tests.perf.api import Api
from tests.perf.figures import Effort, Figure, p99
from tests.perf.objects import entry

NAMESPACES = {
    "nothing": {},
    "native": {LABEL: Engine.NATIVE.value},
    "validating": {LABEL: Engine.VALIDATING.value},
    "webhook": {"guard": "on"},
    "both": {"guard": "on", LABEL: Engine.VALIDATING.value},
}
"""Labels by namespace; `both` has the webhook and the validating engine."""
SHOWN = {
    "nothing": "with nothing",
    "native": "with the native engine",
    "validating": "with the validating engine",
    "webhook": "with the webhook",
    "both": "with the webhook and the validating engine",
}
REPAIRING = {"native", "webhook", "both"}
TURNS = 400
WARMING = 40
NUMBERS = count()


def run(effort: Effort) -> Iterator[Figure]:
    """Entries that are repaired where something repairs, then compliant ones."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        api = stack.enter_context(Api(control_plane))
        webhook = stack.enter_context(Webhook(folder))
        stack.enter_context(webhook.registered(control_plane, NAMESPACES["webhook"]))
        _apply_backstops(control_plane)
        for name, labels in NAMESPACES.items():
            api.create_namespace(name, **labels)
        for name in REPAIRING:
            wait_until(partial(_repairs, api, name), f"{name} repairs")
        for resolution, shown in (("NONE", "an entry that is repaired"), ("DNS", "a compliant entry")):
            _turns(api, resolution, WARMING)
            for name, values in _turns(api, resolution, effort.count(TURNS)).items():
                yield Figure(f"{shown}, {SHOWN[name]}, median", median(values) * 1000, "ms")
                yield Figure(f"{shown}, {SHOWN[name]}, 99th percentile", p99(values) * 1000, "ms")


def _apply_backstops(control_plane: ControlPlane) -> None:
    objects = [one for engine in Engine for one in confined(backstop(default_policy(), engine), engine.value)]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=manifest)


def _turns(api: Api, resolution: str, turns: int) -> dict[str, list[float]]:
    """Seconds of each create, by namespace."""
    taken: dict[str, list[float]] = {name: [] for name in NAMESPACES}
    for _ in range(turns):
        for namespace, values in taken.items():
            given = entry(next(NUMBERS), resolution=resolution)
            began = time.perf_counter()
            stored = api.create_entry(given, namespace)
            values.append(time.perf_counter() - began)
            expected = "DNS" if namespace in REPAIRING else resolution
            assert stored["spec"]["resolution"] == expected, f"{namespace} is not what it should be"
    return taken


def _repairs(api: Api, namespace: str) -> bool:
    stored = api.create_entry(entry(next(NUMBERS)), namespace, "?dryRun=All")
    return bool(stored["spec"]["resolution"] == "DNS")
