"""The main job on an API server of its own: `make demo`. Touches no cluster, and cleans up after itself."""

import sys
import time
from pathlib import Path

from tests.bed import guard
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.errors import BedError
from tests.bed.processes import wait_until
from tests.demo.introduction import introduction
from tests.demo.screen import say, show
from tests.demo.sightings import Sightings

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RECIPE = EXAMPLES / "external-api.yaml"
REFUSED = EXAMPLES / "refused.yaml"


def main() -> int:
    """Show everything; returns the exit code."""
    try:
        say("What is going to happen")
        show(introduction())
        say(f"1. What `serviceentry-guard review` says of {RECIPE.name}, offline")
        show(guard.review(RECIPE.read_text()).stdout)
        say("2. A kube-apiserver with etcd and Istio's CRDs, the webhook registered over verified TLS, the controller")
        binaries, began = provide(installed_kubectl=True), time.monotonic()
        with ControlPlane(binaries) as control_plane, guard.guard(control_plane):
            show(f"up and ready after {time.monotonic() - began:.1f} s")
            demonstrate(control_plane)
    except BedError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
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


def get(control_plane: ControlPlane, *arguments: str) -> None:
    """Show what kubectl says of the namespace."""
    show(control_plane.kubectl("get", "-n", "team", *arguments).stdout)


def without_comment(text: str) -> str:
    """Leave out the lines of comment."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


if __name__ == "__main__":
    sys.exit(main())
