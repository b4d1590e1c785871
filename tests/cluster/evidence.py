"""What a cluster looks like when a test has failed: its pods, its warnings, the ends of the logs of its containers."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.bed.control_plane import ControlPlane

LINES = 25
"""Of each log."""
WARNINGS = 30


def seen(plane: ControlPlane) -> str:
    """All of it as text; what cannot be had is left out."""
    return "\n".join(_seen(lambda *arguments: _said(plane, *arguments)))


def _seen(kubectl: Callable[..., str]) -> Iterator[str]:
    yield kubectl("get", "nodes", "--output=wide")
    yield kubectl("get", "pods", "--all-namespaces", "--output=wide")
    warnings = kubectl("get", "events", "--all-namespaces", "--field-selector=type=Warning", "--sort-by=.lastTimestamp")
    yield "\n".join(warnings.splitlines()[-WARNINGS:])
    for pod in json.loads(kubectl("get", "pods", "--all-namespaces", "--output=json") or '{"items": []}')["items"]:
        yield from _logs(pod, kubectl)


def _logs(pod: dict[str, Any], kubectl: Callable[..., str]) -> Iterator[str]:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    status = pod["status"]
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        yield f"--- {namespace}/{name} {container['name']}: {json.dumps(container['state'])}"
        arguments = (name, f"--namespace={namespace}", f"--container={container['name']}", f"--tail={LINES}")
        if container["restartCount"]:
            yield f"before its last start:\n{kubectl('logs', *arguments, '--previous')}"
        yield kubectl("logs", *arguments)


def _said(plane: ControlPlane, *arguments: str) -> str:
    done = plane.kubectl(*arguments, "--request-timeout=10s", check=False)
    return done.stdout.rstrip()
