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
        symptom="503 after the load balancer's addresses changed, until the application is restarted",
        setting="nothing: the recipe",
        cost="Each workload's sidecar sends one DNS query per TTL.",
        scenario=rotation.TITLE,
        circumstances=str(Rotation(2, in_flight=True)),
        without=OFF,
        having=RECIPE,
    ),
    Advice(
        symptom="A burst of 503 with `remote connection failure` at each change of addresses, for up to one TTL",
        setting="`virtualService.retries: {attempts: 5, backoff: 1s}` (Istio 1.26 or newer)",
        cost="Every first retry waits half a second on average instead of 12 ms, and later ones wait longer.",
        scenario=rotation.TITLE,
        circumstances=str(Rotation(0, in_flight=True)),
        without=RECIPE,
        having=BACKOFF,
    ),
    Advice(
        symptom="The first requests after a pause hang, or fail with 503 or 504",
        setting=f"{_POOL} with `http.idleTimeout` below the timeouts of the firewall and the load balancer",
        cost="One new connection after each longer pause.",
        scenario=firewall.TITLE,
        circumstances=str(Idleness(resets=False, one_first=True)),
        without=RECIPE,
        having=IDLE_TIMEOUT,
    ),
    Advice(
        symptom="The same on a TLS passthrough port",
        setting=f"{_POOL} with `tcp.idleTimeout` below these timeouts, or `tcp.tcpKeepalive`",
        cost=(
            "The application's idle connection is closed, and it must connect again. Keepalive keeps it open, with "
            "one packet per `interval` and connection."
        ),
        scenario=firewall.TITLE_TLS,
        circumstances=f"passthrough: {Idleness(resets=False)}",
        without=RECIPE,
        having=IDLE_TIMEOUT,
    ),
    Advice(
        symptom="Connections that end on a TLS passthrough port, where retries are not possible",
        setting="`destinationRule.tlsOrigination: true`, port 80/HTTP with `targetPort: 443`, "
        "plain HTTP in the application",
        cost="The application's URL changes, and the sidecar verifies the certificate instead of the application.",
        scenario=firewall.TITLE_TLS,
        circumstances=origination.PASSTHROUGH,
        circumstances_having=origination.ORIGINATED,
        without=RECIPE,
        having=ORIGINATION,
    ),
    Advice(
        symptom="A request was processed twice",
        setting="`virtualService.unsafeMethods.retryOn: [connect-failure, refused-stream, reset-before-request]`",
        cost="A POST without a response fails, as without the guard; the application must decide whether to repeat it.",
        scenario=unsafe.TITLE,
        circumstances=unsafe.CIRCUMSTANCES,
        without=RECIPE,
        having=SPLIT,
        repairs=False,
    ),
    Advice(
        symptom="Calls that take longer than 2 s fail with `upstream request timeout`",
        setting="annotation `serviceentry-guard.io/per-try-timeout` on the entry, above the slowest good response",
        cost="A try to a dead address ends later: after this time instead of 2 s.",
        scenario=slow.TITLE,
        circumstances=slow.CIRCUMSTANCES,
        without=RECIPE,
        having=slow.MENDED,
    ),
    Advice(
        symptom="A wildcard host with `connection termination`",
        setting="`resolution.wildcards: DynamicDNS`",
        cost="Each name below the wildcard is resolved and cached separately.",
        scenario=shapes.TITLE,
        circumstances=shapes.WILDCARD,
        without=OFF,
        having=DYNAMIC,
    ),
)
