"""What a platform engineer sets against which symptom, and the two trials that show it."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.mesh.arms import BACKOFF, DYNAMIC, IDLE_TIMEOUT, OFF, ORIGINATION, RECIPE, SPLIT, Arm
from tests.mesh.scenarios import firewall, origination, rotation, shapes, slow, termination, unsafe
from tests.mesh.scenarios.firewall import Idleness
from tests.mesh.scenarios.rotation import Rotation
from tests.mesh.trial import Measured

_POOL = "`destinationRule.enabled: true`, `connectionPool`"


@dataclass(frozen=True, slots=True)
class Advice:
    """One line of the page; `without` and `having` are arms of the same circumstances, or have their own."""

    symptom: str
    setting: str
    cost: str
    scenario: str
    circumstances: str
    without: Arm
    having: Arm
    circumstances_having: str = ""
    repairs: bool = True
    """Whether it is about errors; else it is about what the upstream sees."""

    def figure(self, arm: Arm, measured: Iterable[Measured]) -> Measured:
        """The trial of one of the two arms. Raises LookupError if the run had none."""
        circumstances = self.circumstances_having if arm is self.having else ""
        wanted = (self.scenario, circumstances or self.circumstances, arm.label)
        for one in measured:
            if (one.scenario, one.circumstances, one.arm) == wanted:
                return one
        raise LookupError(f"no trial {wanted} was measured")


ADVICE = (
    Advice(
        symptom="Now and then 503 with `reset reason: connection termination`",
        setting="nothing: the recipe",
        cost="Retries repeat POSTs too (see below), and end calls slower than 2 s (see below).",
        scenario=termination.TITLE,
        circumstances=termination.CUT,
        without=OFF,
        having=RECIPE,
    ),
    Advice(
        symptom="503 from the day the load balancer moved until the application is restarted",
        setting="nothing: the recipe",
        cost="The sidecar resolves the name once in a TTL, for each workload.",
        scenario=rotation.TITLE,
        circumstances=str(Rotation(2, in_flight=True)),
        without=OFF,
        having=RECIPE,
    ),
    Advice(
        symptom="A burst of 503 with `remote connection failure` at each change of addresses, over within a TTL",
        setting="`virtualService.retries: {attempts: 5, backoff: 1s}` (Istio 1.26 or newer)",
        cost="The first retry waits half a second in the mean instead of 12 ms, whatever it is for, later ones longer.",
        scenario=rotation.TITLE,
        circumstances=str(Rotation(0, in_flight=True)),
        without=RECIPE,
        having=BACKOFF,
    ),
    Advice(
        symptom="The first requests after a pause hang, or fail with 503 or 504",
        setting=f"{_POOL} with `http.idleTimeout` below the firewall's and the load balancer's",
        cost="A handshake after each pause that is longer.",
        scenario=firewall.TITLE,
        circumstances=str(Idleness(resets=False, one_first=True)),
        without=RECIPE,
        having=IDLE_TIMEOUT,
    ),
    Advice(
        symptom="The same on a TLS passthrough port",
        setting=f"{_POOL} with `tcp.idleTimeout` below theirs, or `tcp.tcpKeepalive`",
        cost=(
            "The application sees its idle connection closed, and has to connect again. Keepalive instead keeps it, "
            "for one packet in `interval` a connection."
        ),
        scenario=firewall.TITLE_TLS,
        circumstances=f"passthrough: {Idleness(resets=False)}",
        without=RECIPE,
        having=IDLE_TIMEOUT,
    ),
    Advice(
        symptom="Connections that end on a TLS passthrough port: nothing retries",
        setting="`destinationRule.tlsOrigination: true`, port 80/HTTP with `targetPort: 443`, plain HTTP in the code",
        cost="The sidecar holds the TLS session: a change of the application's URL, and of who verifies certificates.",
        scenario=firewall.TITLE_TLS,
        circumstances=origination.PASSTHROUGH,
        circumstances_having=origination.ORIGINATED,
        without=RECIPE,
        having=ORIGINATION,
    ),
    Advice(
        symptom="Something was ordered twice",
        setting="`virtualService.unsafeMethods.retryOn: [connect-failure, refused-stream, reset-before-request]`",
        cost="A POST that was sent and not answered fails, as without the guard: the application has to decide.",
        scenario=unsafe.TITLE,
        circumstances=unsafe.CIRCUMSTANCES,
        without=RECIPE,
        having=SPLIT,
        repairs=False,
    ),
    Advice(
        symptom="Calls that take longer than 2 s fail with `upstream request timeout`",
        setting="annotation `serviceentry-guard.io/per-try-timeout` on the entry, above the slowest good answer",
        cost="A dead address is given up later: after this time instead of 2 s.",
        scenario=slow.TITLE,
        circumstances=slow.CIRCUMSTANCES,
        without=RECIPE,
        having=slow.MENDED,
    ),
    Advice(
        symptom="A wildcard host with `connection termination`",
        setting="`resolution.wildcards: DynamicDNS`",
        cost="Each name below the wildcard is resolved and kept by itself.",
        scenario=shapes.TITLE,
        circumstances=shapes.WILDCARD,
        without=OFF,
        having=DYNAMIC,
    ),
)
