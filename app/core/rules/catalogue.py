"""The catalogue of findings: each has a stable code, a meaning and a remedy."""

from app.core.rules import policy_catalogue, traffic_catalogue, waypoint_catalogue
from app.core.rules.findings import Rule

MALFORMED = Rule(
    "SEG001",
    "Malformed",
    "A field has a type that Istio's schema does not allow, so the guard cannot review the entry.",
    "Correct the field; Istio's ServiceEntry reference gives the type of each.",
)
EXEMPTED = Rule(
    "SEG002",
    "Exempted",
    "The guard does not change or reject the entry, because the policy or an annotation exempts it.",
    "Remove the exemption once its reason is gone.",
)
RESOLUTION_CHANGED = Rule(
    "SEG003",
    "ResolutionChanged",
    "Without resolution DNS, each retry goes to the same dead address.",
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
    "A wildcard host cannot be resolved, and Istio rejects it with resolution DNS.",
    "List each host by its full name; or, where every host is a wildcard, write resolution: DYNAMIC_DNS with ports of "
    "protocol HTTP, HTTP2, GRPC or TLS (TLS instead of HTTPS). For other ports Istio has only NONE: ask for an "
    "exemption.",
)
_WAYS_OUT = (
    "If clients call the host by its name, remove addresses and write resolution: DNS. If clients need this address, "
    "write resolution: STATIC with the address as endpoint; for several addresses, write one ServiceEntry with its own "
    "host for each."
)
CIDR_ADDRESS = Rule(
    "SEG006",
    "CidrAddress",
    "Istio rejects CIDR addresses, /32 and /128 too, with resolution DNS.",
    _WAYS_OUT,
)
SHARED_PORT = Rule(
    "SEG007",
    "SharedPort",
    "With resolution DNS, Istio cannot tell several hosts apart on a port that is neither HTTP nor TLS.",
    "Write protocol HTTP or TLS for the port if clients speak it, or remove the port.",
)
WORKLOAD_SELECTOR = Rule(
    "SEG008",
    "WorkloadSelector",
    "A workloadSelector picks endpoints inside the mesh; there is nothing to resolve.",
    "Write resolution: STATIC, or remove the workloadSelector.",
)
NOT_FQDN = Rule(
    "SEG009",
    "NotFqdn",
    "Only a fully qualified domain name resolves in the same way for every proxy.",
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
    "STATIC endpoints keep their addresses when the addresses of the host change.",
    "Remove endpoints and write resolution: DNS, if DNS has a name for these addresses.",
)
NOT_MUTATED = Rule(
    "SEG012",
    "NotMutated",
    "The entry does not have the resolution that the mutating webhook sets.",
    "Apply the entry again, or write the resolution yourself. If it recurs, find the webhook that reverts it.",
)
OVERRIDE_REFUSED = Rule(
    "SEG013",
    "OverrideRefused",
    "An override annotation has a value that the policy does not allow.",
    "Write a value within the bounds, or remove the annotation.",
)
EXEMPTION_REFUSED = Rule(
    "SEG014",
    "ExemptionRefused",
    "The exempt annotation has no effect: the policy forbids it, its reason or end does not meet the policy, or it has "
    "ended.",
    "Write the reason and end date that the policy requires, or ask the platform team for an exemption.",
)
UNKNOWN_ANNOTATION = Rule(
    "SEG015",
    "UnknownAnnotation",
    "An annotation with the prefix serviceentry-guard.io/ has an unknown name.",
    "Correct its name, or remove it.",
)
OPAQUE_PORTS = Rule(
    "SEG016",
    "OpaquePorts",
    "No port has a protocol that names its host (HTTP or TLS family), so the guard keeps the resolution: with DNS, "
    "Istio would send every connection on such a port to one host.",
    "If a port carries HTTP or TLS, write that protocol. Otherwise there is nothing to do.",
)
MIXED_PORTS = Rule(
    "SEG017",
    "MixedPorts",
    "The protocol of one port names no host (such as TCP), and that of another port does (HTTP, TLS). With DNS, Istio "
    "would send every connection on the first port to one host. Two entries do not help: Istio merges entries of one "
    "host, and the first port would lose its cluster.",
    "Remove the port that names no host: outbound traffic policy ALLOW_ANY passes its connections through to the "
    "address that the client dialled (REGISTRY_ONLY blocks them). Or write resolution: DNS, if clients call no other "
    "host on that port. Or ask for an exemption.",
)
MATCHED_BY_ADDRESS = Rule(
    "SEG018",
    "MatchedByAddress",
    "With addresses, Istio matches connections by address, and the host may not exist in DNS.",
    _WAYS_OUT,
)
ENDPOINTS_WITHOUT_RESOLUTION = Rule(
    "SEG019",
    "EndpointsWithoutResolution",
    "Istio rejects endpoints with resolution NONE, which is also what an unset resolution means.",
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
    "An object that the guard emits for this entry is missing, or differs from what the guard would write.",
    "Start the controller. If it is running, read its log for failed writes.",
)
KUBERNETES_SERVICE = Rule(
    "SEG025",
    "KubernetesService",
    "The host is a Kubernetes Service's name: a VirtualService for it would take over the Service's own routing.",
    "Remove the host: the mesh knows the Service. Write retries into a VirtualService in the Service's namespace.",
)
HOST_EXPORTED_TWICE = Rule(
    "SEG026",
    "HostExportedTwice",
    "ServiceEntries of different namespaces export the same host to the whole mesh; a proxy uses only one of them.",
    'Keep the host in one ServiceEntry, or keep each to its own namespace with exportTo: ["."].',
)
EXPORTED_TO_NO_ONE = Rule(
    "SEG027",
    "ExportedToNoOne",
    'exportTo: ["~"] hides the entry from every namespace, so nothing is emitted for it; Istio rejects "~" on a '
    "VirtualService.",
    'Write exportTo: ["."] if the entry is to be used in its own namespace.',
)
TAKES_ALL_TLS = Rule(
    "SEG028",
    "TakesAllTls",
    "Port 443 is not declared as TLS, and clients speak TLS there. If the port is declared as HTTP, their calls fail. "
    "If it is TCP or has no protocol, it receives every TLS connection of the pod to port 443 that matches no SNI.",
    "Write protocol: TLS (or HTTPS) for port 443; write HTTP only if clients really send plain HTTP to it.",
)
STREAM_DEADLINE = Rule(
    "SEG029",
    "StreamDeadline",
    "A GRPC or GRPC-WEB port gets a timeout or a timeout per try. It also ends streams that are only long.",
    "Remove timeout and per-try-timeout for ports that carry streams, or write values longer than any stream.",
)
SIBLING_STAYS = Rule(
    "SEG040",
    "SiblingStays",
    "Another ServiceEntry of the namespace names the same host and keeps a different resolution. Istio merges both "
    "under the resolution of the older entry, and the ports of the newer entry lose their cluster.",
    "Write the entries as one, or give all of them the same resolution and ports.",
)
REACH_CONFINED = Rule(
    "SEG041",
    "ReachConfined",
    "The objects for a host are visible in fewer namespaces than the entry, because others did not agree to them.",
    "If only the entry's own namespace calls the host, there is nothing to do. Otherwise write an entry in each "
    "namespace that calls it, or enforce the same policy for all of them.",
)
LIMIT_EXCEEDED = Rule(
    "SEG042",
    "LimitExceeded",
    "The entry or its namespace exceeds a limit of the policy. Nothing is emitted for any host of the entry.",
    "Remove hosts, HTTP ports or exportTo names that are not needed, split the entry, or remove entries of the "
    "namespace; or ask the platform team to raise the limit that the message names.",
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
    "ServiceEntries of the namespace declare different ports (other than HTTP) or addresses of one host, or different "
    "protocols of one port. With DNS, the protocol of the port could change, or a sidecar that captures DNS gives the "
    "host an address for each entry, on which only the ports of that entry work. So entries with NONE keep it.",
    "Write the entries as one. If no sidecar captures DNS, the platform team can set resolution.splitHosts to DNS.",
)
HOST_OWNED = Rule(
    "SEG043",
    "HostOwned",
    "The policy assigns the host, or a host that the wildcard covers, to another namespace.",
    "Remove the host, and ask the owner for an entry whose exportTo names your namespace.",
)
EXPORTED_TO_ALL = Rule(
    "SEG044",
    "ExportedToAll",
    "exportTo is not set or contains *, so the entry applies in every namespace without its own entry for the host.",
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
    "The exemption of the entry ends within 14 days, or has ended. Nothing changes on that day; the next write of the "
    "entry after it is reviewed like that of any other entry.",
    "Repair the entry and remove the exemption, or ask to extend it.",
)
SHORT_SERVICE_NAME = Rule(
    "SEG048",
    "ShortServiceName",
    "The host looks like the short name of a Kubernetes Service: service.namespace. The entry then takes the calls "
    "that are meant for the Service.",
    "Remove the host if it is a Service: the mesh knows it. The policy can assign *.NAMESPACE to that namespace with "
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
"""The findings that make an entry unfixable."""
