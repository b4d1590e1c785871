"""The main job on an API server of its own: `make demo`. Touches no cluster, and cleans up after itself."""

import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from app.kube.client import Client
from app.kube.resources import EMITTED, SERVICE_ENTRIES, Resource
from app.kube.watch import Reflector
from tests import guard
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.errors import BedError
from tests.bed.processes import wait_until

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
RECIPE = EXAMPLES / "external-api.yaml"
REFUSED = EXAMPLES / "refused.yaml"
VIRTUAL_SERVICES = EMITTED["VirtualService"]


def main() -> int:
    """Show everything; returns the exit code."""
    say(f"1. What `serviceentry-guard review` says of {RECIPE.name}, offline")
    show(guard.review(RECIPE.read_text()).stdout)
    say("2. A real kube-apiserver with etcd and Istio's CRDs, our webhook registered over verified TLS, our controller")
    try:
        binaries, began = provide(), time.monotonic()
        with ControlPlane(binaries) as control_plane, guard.guard(control_plane):
            show(f"up and ready after {time.monotonic() - began:.1f} s")
            demonstrate(control_plane)
    except BedError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 2
    say("Everything is stopped and removed again; no cluster of yours was touched.")
    return 0


def demonstrate(control_plane: ControlPlane) -> None:
    """Apply what is repaired and what is refused."""
    control_plane.kubectl("create", "namespace", "team")
    say(f"3. kubectl apply -f {RECIPE.name}: what the team writes")
    show(without_comment(RECIPE.read_text()))
    with Sightings(control_plane) as sightings:
        applied = control_plane.kubectl("apply", "-f", RECIPE)
        show(applied.stdout + applied.stderr)
        wait_until(lambda: len(sightings.virtual_services) == 2, "both VirtualServices are there")
    say("4. What is stored now")
    get(control_plane, "serviceentry", "-o=custom-columns=NAME:.metadata.name,RESOLUTION:.spec.resolution")
    say("5. The VirtualServices that appeared, and when")
    for name, milliseconds in sightings.latencies():
        show(f"{name}: {milliseconds:.0f} ms after the ServiceEntry was stored")
    get(control_plane, "virtualservice/api.partner.example", "-o=jsonpath-as-json={.spec}")
    say(f"6. kubectl apply -f {REFUSED.name}: what cannot be repaired is refused, with what to write instead")
    show(control_plane.kubectl("apply", "-f", REFUSED, check=False).stderr)


class Sightings:
    """When objects were first seen, by watches that were open before they came."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.virtual_services: dict[str, float] = {}
        self._entries: dict[str, float] = {}
        self._client = Client.from_kubeconfig(str(control_plane.kubeconfig))
        self._reflectors = (
            self._watch(SERVICE_ENTRIES, self._entries),
            self._watch(VIRTUAL_SERVICES, self.virtual_services),
        )

    def __enter__(self) -> Self:
        for reflector in self._reflectors:
            reflector.start()
            reflector.wait_synced(10)
        return self

    def __exit__(self, *_exception: object) -> None:
        for reflector in self._reflectors:
            reflector.stop()
        self._client.close()

    def latencies(self) -> Iterator[tuple[str, float]]:
        """Name and milliseconds of each VirtualService."""
        stored = min(self._entries.values())
        for name, seen in sorted(self.virtual_services.items()):
            yield name, max(0.0, seen - stored) * 1000

    def _watch(self, resource: Resource, seen: dict[str, float]) -> Reflector[str]:
        def note(key: tuple[str, str], _old: object, _new: object) -> None:
            seen.setdefault(key[1], time.perf_counter())

        return Reflector(self._client, resource, lambda one: str(one["metadata"]["uid"]), note)


def get(control_plane: ControlPlane, *arguments: str) -> None:
    """Show what kubectl says of the namespace."""
    show(control_plane.kubectl("get", "-n", "team", *arguments).stdout)


def say(title: str) -> None:
    """Print a heading."""
    sys.stdout.write(f"\n\033[1m{title}\033[0m\n" if sys.stdout.isatty() else f"\n{title}\n")
    sys.stdout.flush()


def show(text: str) -> None:
    """Print what something said."""
    sys.stdout.write(textwrap.indent(text.strip("\n"), "   ") + "\n")
    sys.stdout.flush()


def without_comment(text: str) -> str:
    """Leave out the lines of comment."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


if __name__ == "__main__":
    sys.exit(main())
