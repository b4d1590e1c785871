"""The findings that follow from metrics of a mesh, not from manifests. `catalogue` has the list of all."""

from app.core.rules.findings import Rule

DNS_LOAD = Rule(
    "SEG049",
    "DnsLoad",
    "Together with others, the entry makes the proxies send more DNS queries than the policy's limit. Each proxy asks "
    "for each port of each host that it knows, whether or not it calls the host.",
    "Write an exportTo or a Sidecar resource that leaves out the proxies that never call the host, raise the TTL of "
    "the DNS record, or run a DNS cache on each node; or raise dns.maxQueriesPerSecond in the policy.",
)
CALLS_CUT = Rule(
    "SEG052",
    "CallsCut",
    "Since the guard emits a VirtualService for the host, more of its calls end at a timeout (504, response flag UT) "
    "than before: the timeout now also ends slow calls that used to succeed.",
    "Write serviceentry-guard.io/per-try-timeout and serviceentry-guard.io/timeout longer than the slowest good call; "
    "`audit --prometheus --suggest annotations` suggests values, from durations that no timeout has cut yet.",
)
