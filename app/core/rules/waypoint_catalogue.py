"""The part of the catalogue about ambient meshes and their waypoints."""

from app.core.rules.findings import Rule

NO_WAYPOINT = Rule(
    "SEG053",
    "NoWaypoint",
    "The entry is in an ambient mesh and no waypoint serves it. ztunnel does not read HTTP, so the retries of the "
    "VirtualService apply to sidecars only.",
    "Bind the entry to a waypoint: write the label istio.io/use-waypoint: NAME on the entry or on its namespace, and "
    "istio.io/use-waypoint-namespace if the waypoint is in another namespace.",
)
AMBIENT_WILDCARD = Rule(
    "SEG054",
    "AmbientWildcard",
    "In an ambient mesh Istio serves a wildcard host only with resolution DYNAMIC_DNS, at a waypoint, and on ports of "
    "protocol HTTP or TLS.",
    "List each host by its full name; or write resolution: DYNAMIC_DNS with ports of protocol HTTP or TLS, and bind "
    "the entry to a waypoint with the label istio.io/use-waypoint.",
)
BYPASSES_WAYPOINT = Rule(
    "SEG055",
    "BypassesWaypoint",
    "Istio gives an entry with resolution NONE and without addresses no address, so ztunnel does not lead its calls to "
    "the waypoint.",
    "Write resolution: DNS. With resolution NONE and addresses, calls come to the waypoint from ztunnel 1.28 on.",
)
WAYPOINT_REFUSED = Rule(
    "SEG056",
    "WaypointRefused",
    "istiod did not bind the entry to the waypoint that its labels name (condition istio.io/WaypointBound is False), "
    "so the retries of the VirtualService do not apply.",
    "Correct the label istio.io/use-waypoint; or have the waypoint's Gateway admit the namespace of the entry: "
    "allowedRoutes.namespaces of its listener.",
)
ROUTED_BEFORE = Rule(
    "SEG057",
    "RoutedBefore",
    "At the waypoint that serves the entry, an object that the guard does not manage comes before the VirtualService "
    "of the guard, whose routes would never be taken. So the VirtualService is not exported to the waypoint.",
    "Add retries to that object, or remove it. The retry of an HTTPRoute does not cover resets: write a VirtualService "
    "in its place, or set meshConfig.defaultHttpRetryPolicy.",
)
RULE_NOT_AT_WAYPOINT = Rule(
    "SEG058",
    "RuleNotAtWaypoint",
    "A DestinationRule acts at a waypoint only if the namespace of the waypoint sees both the ServiceEntry and the "
    "DestinationRule. The guard never changes the exportTo of an entry.",
    "Add the namespace of the waypoint to exportTo of the ServiceEntry.",
)
WAYPOINT_SHARED = Rule(
    "SEG059",
    "WaypointShared",
    "One waypoint serves a host for ServiceEntries of two namespaces. Istio keeps one of the two at the waypoint, not "
    "always the same, and calls to the address of the other fail. So an entry that is not DNS yet keeps its "
    "resolution, and the controller restores that of an entry which the guard changed before the other one came.",
    "Keep the host in one of the two entries, give one of the namespaces a waypoint of its own, or write the label "
    "istio.io/use-waypoint: none on one of the entries.",
)
WAYPOINT_NOT_REACHED = Rule(
    "SEG060",
    "WaypointNotReached",
    "The waypoint that serves the entry is in a namespace that has sidecars, or whose labels are not known. Seen "
    "there, the VirtualService of a wildcard host would lead calls of those sidecars on port 80 nowhere.",
    "Bind the entry to a waypoint in its own namespace or in one without sidecars, or add the namespace of the "
    "waypoint to exportTo of the ServiceEntry.",
)
WILDCARD_CAPTURED = Rule(
    "SEG061",
    "WildcardCaptured",
    "At a waypoint, Istio uses a VirtualService for every host that overlaps with its own. That of one host would send "
    "all calls of a wildcard entry to this host. So the waypoint's namespace does not see the VirtualService.",
    "Bind the wildcard entry to a waypoint in a namespace of its own, list its hosts by their full names, or write the "
    "label istio.io/use-waypoint: none on it.",
)
