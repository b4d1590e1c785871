"""The arms of the comparison: one namespace each, with the policy that is in force there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.e2e.team import GUARDED

IDLE = "4s"
"""Below the six seconds after which the firewall of these tests forgets."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A namespace, what its policy is called in the table, and the policy laid over the default."""

    namespace: str
    label: str
    policy: Mapping[str, Any]
    imports: tuple[str, ...] = ()
    """Hosts of other namespaces that its sidecar knows, as a Sidecar lists them."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the namespace, by which the webhook is asked about it or not."""
        return {} if self.policy.get("mode") == "Off" else GUARDED

    def called(self, label: str) -> "Arm":
        """The same namespace under another name in the table."""
        return replace(self, label=label)


def _rule(**pool: Any) -> dict[str, Any]:
    return {"destinationRule": {"enabled": True, "connectionPool": pool}}


OFF = Arm("off", "guard off", {"mode": "Off"})
BY_HAND = Arm("by-hand", "DNS and the recipe on every entry, by hand", {"mode": "Off"}, ("a-neighbour/*", "egress/*"))
"""What the guard must not do: write DNS and a public VirtualService with the recipe in every case."""
BY_HAND_NEIGHBOUR = Arm("a-neighbour", BY_HAND.label, BY_HAND.policy)
"""A neighbour that does the same. Its name sorts first: istiod orders objects of the same second by name."""
RECIPE = Arm("recipe", "the recipe", {}, ("neighbour/*", "tenant/*"))
BACKOFF = Arm(
    "backoff", "`attempts: 5`, `backoff: 1s`", {"virtualService": {"retries": {"attempts": 5, "backoff": "1s"}}}
)
IDLE_TIMEOUT = Arm(
    "idle", f"DestinationRule, `idleTimeout: {IDLE}`", _rule(http={"idleTimeout": IDLE}, tcp={"idleTimeout": IDLE})
)
KEEPALIVE = Arm(
    "keepalive",
    "DestinationRule, `tcpKeepalive: {time: 2s}`",
    _rule(http={"idleTimeout": None}, tcp={"tcpKeepalive": {"time": "2s", "interval": "2s"}}),
)
ONE_REQUEST = Arm(
    "fresh",
    "DestinationRule, `maxRequestsPerConnection: 1`",
    _rule(http={"idleTimeout": IDLE, "maxRequestsPerConnection": 1}),
)
AGE = Arm(
    "age",
    "DestinationRule, `maxConnectionDuration: 2s`",
    _rule(http={"idleTimeout": None}, tcp={"maxConnectionDuration": "2s"}),
)
ORIGINATION = Arm(
    "origination",
    "DestinationRule, `tlsOrigination: true`",
    {"destinationRule": {"enabled": True, "tlsOrigination": True, "connectionPool": {"http": {"idleTimeout": None}}}},
)
SPLIT = Arm(
    "split",
    "`unsafeMethods.retryOn`: connect-failure, refused-stream, reset-before-request",
    {"virtualService": {"unsafeMethods": {"retryOn": ["connect-failure", "refused-stream", "reset-before-request"]}}},
)
DYNAMIC = Arm("dynamic", "`resolution.wildcards: DynamicDNS`", {"resolution": {"wildcards": "DynamicDNS"}})
TENANT = Arm("tenant", "the recipe", {}, ("egress/*", "recipe/shared.recipe.example", "recipe/*.gated.example"))
WARNED = Arm("warned", "the recipe, a namespace with `mode: Warn`", {"mode": "Warn"}, ("neighbour/*",))
EXEMPT = Arm("exempt", "the recipe, an entry that is exempt", {"exemptions": {"annotation": "Allow"}}, ("neighbour/*",))
NEIGHBOUR = Arm("neighbour", "the recipe", {})
EGRESS = Arm("egress", "guard off", {"mode": "Off"})
MARKER = Arm("marker", "", {"mode": "Off"})
PODS = (
    OFF, BY_HAND, RECIPE, BACKOFF, IDLE_TIMEOUT, KEEPALIVE, ONE_REQUEST, AGE, ORIGINATION, SPLIT, DYNAMIC, TENANT,
    WARNED, EXEMPT,
)  # fmt: skip
"""The arms that have an application and a sidecar."""
ARMS = (*PODS, BY_HAND_NEIGHBOUR, NEIGHBOUR, EGRESS, MARKER)
