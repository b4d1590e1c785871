"""The catalogue: every kind of finding, with its stable code, its meaning and what to write instead."""

from app.core import waypoint_catalogue
from app.core.rules import policy_catalogue, traffic_catalogue
from app.core.rules.findings import Rule

MALFORMED = Rule(
    "SEG001",
    "Malformed",
    "A field does not have the type that Istio's schema gives it, so nothing can be decided.",
    "Correct the field; Istio's ServiceEntry reference gives the type of each.",
)
EXEMPTED = Rule(
    "SEG002",
    "Exempted",
    "The entry is left alone, because the policy or an annotation exempts it.",
    "Remove the exemption once its reason is gone.",
)
RESOLUTION_CHANGED = Rule(
    "SEG003",
    "ResolutionChanged",
    "Without resolution DNS, retries meet the same dead address.",
    "Write resolution: DNS.",
)
ROUND_ROBIN = Rule(
    "SEG004",
    "RoundRobin",
    "With DNS_ROUND_ROBIN, Envoy never drains connections to addresses that DNS no longer gives.",
    "Write resolution: DNS, unless DNS answers with only some of very many addresses.",
)
WILDCARD_HOST = Rule(
    "SEG005",
    "WildcardHost",
    "A wildcard host cannot be resolved, and Istio refuses it with resolution DNS.",
    "List each host by its full name; or, where every host is a wildcard, write resolution: DYNAMIC_DNS with ports of "
    "protocol HTTP, HTTP2, GRPC or TLS (TLS instead of HTTPS). For other ports Istio has no form but NONE: ask for an "
    "exemption.",
)
_WAYS_OUT = (
    "If clients call the host by its name, remove addresses and write resolution: DNS. If the address is what counts, "
    "write resolution: STATIC with the address as endpoint; of several, each in a ServiceEntry and host of its own."
)
CIDR_ADDRESS = Rule(
    "SEG006",
    "CidrAddress",
    "Istio refuses CIDR addresses, /32 and /128 too, with resolution DNS.",
    _WAYS_OUT,
)
SHARED_PORT = Rule(
    "SEG007",
    "SharedPort",
    "Several hosts on a port that is neither HTTP nor TLS cannot be told apart with resolution DNS.",
    "Give the port a protocol that names its host (HTTP, TLS) if it speaks one, or remove the port.",
)
WORKLOAD_SELECTOR = Rule(
    "SEG008",
    "WorkloadSelector",
    "A workloadSelector picks endpoints inside the mesh; there is nothing to resolve.",
    "Write resolution: STATIC, which workloadSelector is made for, or remove the workloadSelector.",
)
NOT_FQDN = Rule(
    "SEG009",
    "NotFqdn",
    "Only a fully qualified domain name can be resolved by every proxy alike.",
    "Write the full name, such as api.example.com; for a bare address use resolution: STATIC with endpoints.",
)
WILDCARD_ENTRY = Rule(
    "SEG010",
    "WildcardEntry",
    "Every host is a wildcard, so there is no name to resolve before a request comes.",
    "List each host by its full name, or write resolution: DYNAMIC_DNS, which resolves the name in each request; its "
    "ports may be HTTP, HTTP2, GRPC or TLS (write protocol: TLS instead of HTTPS).",
)
STATIC_ENDPOINTS = Rule(
    "SEG011",
    "StaticEndpoints",
    "Endpoints written by hand do not follow when addresses move.",
    "Remove endpoints and write resolution: DNS, if the addresses belong to a name.",
)
NOT_MUTATED = Rule(
    "SEG012",
    "NotMutated",
    "The entry reached storage without the resolution that mutation gives it.",
    "Apply again, or write the resolution yourself; should it recur, look for a webhook that sets it back.",
)
OVERRIDE_REFUSED = Rule(
    "SEG013",
    "OverrideRefused",
    "An annotation asks for something that the policy does not grant.",
    "Write a value within the bounds, or remove the annotation.",
)
EXEMPTION_REFUSED = Rule(
    "SEG014",
    "ExemptionRefused",
    "The exempt annotation is not honoured: the policy forbids it, its reason or its end is not as the policy "
    "requires, or it has ended.",
    "Give the reason and the end that the policy requires, or ask the platform team for an exemption in the policy.",
)
UNKNOWN_ANNOTATION = Rule(
    "SEG015",
    "UnknownAnnotation",
    "An annotation has our prefix and a name that means nothing.",
    "Correct its name, or remove it.",
)
OPAQUE_PORTS = Rule(
    "SEG016",
    "OpaquePorts",
    "No port has a protocol that names its host (HTTP or TLS family), so the resolution is kept: with DNS, Istio would "
    "lead every connection to such a port to one name.",
    "Nothing, if the ports carry other protocols. If a port speaks HTTP or TLS, write that protocol.",
)
MIXED_PORTS = Rule(
    "SEG017",
    "MixedPorts",
    "A port that names no host stands beside one that does. With DNS, Istio would lead every connection to the first "
    "port to one name; in an entry of its own the port would lose its cluster, for Istio merges entries of one host.",
    "Remove the port that names no host: outbound traffic policy ALLOW_ANY passes its connections through to the "
    "address that was dialled (REGISTRY_ONLY blocks them). Or write resolution: DNS, if the host is the only one that "
    "is called on that port. Or ask for an exemption.",
)
MATCHED_BY_ADDRESS = Rule(
    "SEG018",
    "MatchedByAddress",
    "With addresses, Istio matches connections by address, and the host may be a name that DNS does not know.",
    _WAYS_OUT,
)
ENDPOINTS_WITHOUT_RESOLUTION = Rule(
    "SEG019",
    "EndpointsWithoutResolution",
    "Istio refuses endpoints with resolution NONE, which is also what an unset resolution means.",
    "Write resolution: STATIC to call the endpoints, or remove endpoints and write resolution: DNS to call the host.",
)
RETRIES_NOT_APPLICABLE = Rule(
    "SEG020",
    "RetriesNotApplicable",
    "The retries of the policy do not apply to a port that is not declared as HTTP, HTTP2, GRPC or GRPC-WEB.",
    "On a TLS port, let the application speak plain HTTP and the sidecar originate TLS, or retry in the application. "
    "On a port without a protocol, write protocol: HTTP if it speaks HTTP.",
)
HOST_CONFLICT = Rule(
    "SEG021",
    "HostConflict",
    "Another object, which the guard does not manage, already routes the host; a sidecar uses only one.",
    "Add retries to that object, or remove it: the guard then emits its own. If it belongs to another namespace, the "
    "platform team can leave that namespace out of virtualService.yieldTo.",
)
HOST_SHARED = Rule(
    "SEG022",
    "HostShared",
    "An older ServiceEntry of the namespace names the same host and decides its VirtualService.",
    "Keep the host in one ServiceEntry.",
)
DISABLED = Rule(
    "SEG023",
    "VirtualServiceDisabled",
    "An annotation keeps the guard from emitting VirtualServices for this entry.",
    "Remove the annotation to get retries.",
)
OBJECT_MISSING = Rule(
    "SEG024",
    "ObjectMissing",
    "An object that the guard emits for this entry is not in the cluster, or not as the guard writes it.",
    "Run the controller; if it runs, its log says what keeps it from writing.",
)
KUBERNETES_SERVICE = Rule(
    "SEG025",
    "KubernetesService",
    "The host is a Kubernetes Service's name: a VirtualService for it would take over the Service's own routing.",
    "Remove the host: the mesh knows the Service. Retries for it belong into a VirtualService beside the Service.",
)
HOST_EXPORTED_TWICE = Rule(
    "SEG026",
    "HostExportedTwice",
    "ServiceEntries of different namespaces offer the same host to the whole mesh; a proxy takes only one of them.",
    'Keep the host in one ServiceEntry, or keep each to its own namespace with exportTo: ["."].',
)
EXPORTED_TO_NO_ONE = Rule(
    "SEG027",
    "ExportedToNoOne",
    'exportTo: ["~"] hides the entry from every namespace, so nothing is emitted for it; Istio refuses "~" on a '
    "VirtualService.",
    'Write exportTo: ["."] if the entry is to be used in its own namespace.',
)
TAKES_ALL_TLS = Rule(
    "SEG028",
    "TakesAllTls",
    "Port 443 is not declared as TLS, and clients speak TLS there. Declared as HTTP, their calls fail. As TCP or "
    "without a protocol, the port takes every TLS connection of the pod to port 443 that no SNI match takes.",
    "Write protocol: TLS (or HTTPS) for port 443; write HTTP only if clients really send plain HTTP to it.",
)
STREAM_DEADLINE = Rule(
    "SEG029",
    "StreamDeadline",
    "A GRPC or GRPC-WEB port gets a timeout, or a timeout for each try. It ends streams that answer later than that.",
    "Leave timeout and per-try-timeout out for ports that carry streams, or write values longer than any stream.",
)
SIBLING_STAYS = Rule(
    "SEG040",
    "SiblingStays",
    "Another ServiceEntry of the namespace names the same host and keeps another resolution. Istio merges the two "
    "under the resolution of the older one, and the ports of the other lose their cluster.",
    "Write the entries as one, or give all of them the same resolution and ports.",
)
REACH_CONFINED = Rule(
    "SEG041",
    "ReachConfined",
    "What is emitted for a host is visible in fewer namespaces than the entry is, because others did not agree to it.",
    "Nothing, if the entry's own namespace is the only one that calls the host. Otherwise write an entry in each "
    "namespace that calls it, or enforce the same policy for all of them.",
)
LIMIT_EXCEEDED = Rule(
    "SEG042",
    "LimitExceeded",
    "The entry, or its namespace, asks for more than a limit of the policy allows. Nothing is emitted for any host of "
    "the entry.",
    "Remove hosts, HTTP ports or exportTo names that are not needed, split the entry, or remove entries of the "
    "namespace; or have the limit that the message names raised for the namespace.",
)
REPEATED_ENTRY = Rule(
    "SEG050",
    "RepeatedEntry",
    "Several manifests of one cluster have the same namespace and name; the one applied last replaces the others.",
    "Keep one of them, or tell review which folders are clusters of their own: as PATHs, or with --cluster-folders.",
)

HOST_SPLIT = Rule(
    "SEG051",
    "HostSplit",
    "ServiceEntries of the namespace declare different ports (other than HTTP) or different addresses of one host. "
    "With resolution DNS, a sidecar that captures DNS takes each entry for another address of the host, and has the "
    "ports of an entry only there. So entries with resolution NONE keep it.",
    "Write the entries as one. If no sidecar captures DNS, the platform team can set resolution.splitHosts to DNS.",
)
HOST_OWNED = Rule(
    "SEG043",
    "HostOwned",
    "The policy gives the host, or one that the wildcard covers, to another namespace.",
    "Remove the host, and ask the owner for an entry whose exportTo names your namespace.",
)
EXPORTED_TO_ALL = Rule(
    "SEG044",
    "ExportedToAll",
    "exportTo is not set or contains *, so the entry decides in every namespace that has none of its own for the host.",
    'Write exportTo: ["."], or the names of the namespaces that call the host.',
)
PROTOCOLS_DIFFER = Rule(
    "SEG045",
    "ProtocolsDiffer",
    "ServiceEntries of different namespaces give one port of a host different protocols. A proxy that sees both uses "
    "one of them, and calls that speak the other fail.",
    'Agree on one protocol, or keep each entry to its own namespace with exportTo: ["."].',
)
MESH_INTERNAL = Rule(
    "SEG046",
    "MeshInternal",
    "The host is not a name of this cluster, and location MESH_INTERNAL keeps the entry out of the policy's scope: its "
    "resolution stays as it is, and it gets no retries.",
    "Write location: MESH_EXTERNAL if the host is outside of the mesh. For workloads of the mesh, select them with a "
    "workloadSelector. The platform team can add MESH_INTERNAL to scope.locations.",
)
EXEMPTION_ENDS = Rule(
    "SEG047",
    "ExemptionEnds",
    "The exemption of the entry ends within 14 days, or has ended. What runs stays as it is; the next write of the "
    "entry after the last day is judged as that of any other.",
    "Repair the entry and remove the exemption, or have it extended.",
)
SHORT_SERVICE_NAME = Rule(
    "SEG048",
    "ShortServiceName",
    "The host is spelled as Pods spell a Kubernetes Service: service.namespace. The entry then takes the calls that "
    "are meant for the Service.",
    "Remove the host if it is a Service: the mesh knows it. The policy can give *.NAMESPACE to that namespace with "
    "hosts.owners.",
)

_PLACES = (globals(), vars(policy_catalogue), vars(traffic_catalogue), vars(waypoint_catalogue))
CATALOGUE: dict[str, Rule] = {
    rule.code: rule
    for rule in sorted(
        (value for place in _PLACES for value in place.values() if isinstance(value, Rule)), key=lambda rule: rule.code
    )
}

UNFIXABLE = frozenset(
    {
        WILDCARD_HOST,
        CIDR_ADDRESS,
        SHARED_PORT,
        WORKLOAD_SELECTOR,
        NOT_FQDN,
        WILDCARD_ENTRY,
        MIXED_PORTS,
        MATCHED_BY_ADDRESS,
        ENDPOINTS_WITHOUT_RESOLUTION,
        SIBLING_STAYS,
        HOST_SPLIT,
    }
)
"""What keeps an entry from becoming DNS."""
