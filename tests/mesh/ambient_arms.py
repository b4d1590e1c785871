"""The arms of the comparison in an ambient mesh: namespaces, and the waypoint that serves the entries of each."""

from tests.mesh import arms
from tests.mesh.arms import Arm

OFF = Arm("ambient-off", "guard off", {"mode": "Off"})
RECIPE = Arm("ambient", "the recipe", {})
APART_OFF = Arm("apart-off", "guard off", {"mode": "Off"})
APART = Arm("apart", "the recipe", {})
IDLE_OFF = Arm("waypoint-idle-off", "guard off", {"mode": "Off"})
IDLE_TIMEOUT = Arm("waypoint-idle", arms.IDLE_TIMEOUT.label, arms.IDLE_TIMEOUT.policy)
APART_BY_HAND = Arm("apart-by-hand", "a VirtualService exported by hand", {"mode": "Off"})
BESIDE = Arm("beside", "the recipe", {})
BESIDE_BY_HAND = Arm("beside-by-hand", "a VirtualService exported by hand", {"mode": "Off"})
SHARING = Arm("sharing", "the recipe", {})
SHARING_BY_HAND = Arm("sharing-by-hand", "DNS by hand", {"mode": "Off"})
GATEWAYS, EDGE, EDGE_BY_HAND = "gateways", "edge", "edge-by-hand"
"""Namespaces of waypoints: without sidecars, and two with one."""
WAYPOINTS = {
    OFF.namespace: OFF.namespace,
    RECIPE.namespace: RECIPE.namespace,
    APART_OFF.namespace: GATEWAYS,
    APART.namespace: GATEWAYS,
    APART_BY_HAND.namespace: GATEWAYS,
    IDLE_OFF.namespace: OFF.namespace,
    IDLE_TIMEOUT.namespace: IDLE_TIMEOUT.namespace,
    SHARING.namespace: GATEWAYS,
    SHARING_BY_HAND.namespace: GATEWAYS,
    BESIDE.namespace: EDGE,
    BESIDE_BY_HAND.namespace: EDGE_BY_HAND,
}
"""The namespace of the waypoint for each arm with an application."""
HOMES = (
    OFF, RECIPE, APART_OFF, APART, APART_BY_HAND, IDLE_OFF, IDLE_TIMEOUT, SHARING, SHARING_BY_HAND, BESIDE,
    BESIDE_BY_HAND,
)  # fmt: skip
MARKER = Arm("marker", "", {"mode": "Off"})
CALLER = Arm("payments", "retries on the gateway's leg", {}, ("marker/*", "egress/*"))
CALLER_PLAIN = Arm("payments-plain", "no retries on the gateway's leg", {}, ("marker/*", "egress/*"))
EGRESS = Arm("egress", "", {"mode": "Off"})
"""The namespace of an egress gateway; its callers have sidecars, and no waypoint."""
SIDECARS = (
    CALLER,
    CALLER_PLAIN,
    Arm(EDGE, "the recipe", {}, ("marker/*", "beside/*")),
    Arm(EDGE_BY_HAND, "a VirtualService exported by hand", {"mode": "Off"}, ("marker/*", "beside-by-hand/*")),
)
"""The arms with a sidecar, beside a waypoint."""
ALL = (*HOMES, *SIDECARS, EGRESS, MARKER)
