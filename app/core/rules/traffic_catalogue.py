"""The kinds of findings that follow from figures of a mesh, not from manifests; `catalogue` has all of them."""

from app.core.rules.findings import Rule

DNS_LOAD = Rule(
    "SEG049",
    "DnsLoad",
    "Together with others, the entry makes the proxies send more DNS queries than the policy's limit. Each proxy asks "
    "for each port of each host that it knows, whether or not it calls the host.",
    "Write an exportTo or a Sidecar resource that leaves out the proxies that never call the host, have the TTL of the "
    "DNS record raised, or run a DNS cache on each node; or raise dns.maxQueriesPerSecond in the policy.",
)
CALLS_CUT = Rule(
    "SEG052",
    "CallsCut",
    "Since the guard emits a VirtualService for the host, more of its calls end at a timeout (504, response flag UT) "
    "than before: calls that were only slow are now ended.",
    "Write serviceentry-guard.io/per-try-timeout and serviceentry-guard.io/timeout longer than the slowest good call; "
    "`audit --prometheus --suggest annotations` knows values while the durations are not cut yet.",
)
