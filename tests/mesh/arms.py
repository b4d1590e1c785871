"""The arms of the comparison: one namespace each, with the policy that is in force there."""

from collections.abc import Mapping
from dataclasses import dataclass
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

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the namespace, by which the webhook is asked about it or not."""
        return {} if self.policy.get("mode") == "Off" else GUARDED


def _rule(**pool: Any) -> dict[str, Any]:
    return {"destinationRule": {"enabled": True, "connectionPool": pool}}


OFF = Arm("off", "guard off", {"mode": "Off"})
RECIPE = Arm("recipe", "the recipe", {})
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
PRIVATE = Arm("private", "the recipe", {})
MARKER = Arm("marker", "", _rule(http={"idleTimeout": "31s"}))
ARMS = (
    OFF, RECIPE, BACKOFF, IDLE_TIMEOUT, KEEPALIVE, ONE_REQUEST, AGE, ORIGINATION, SPLIT, DYNAMIC, PRIVATE, MARKER,
)  # fmt: skip
