"""The kinds of findings on a policy; `catalogue` has those on objects, and all of them together."""

from app.core.rules.findings import Rule

TIMEOUT_TOO_SHORT = Rule(
    "SEG030",
    "TimeoutTooShort",
    "The policy's timeout ends a request before its last try could.",
    "Write a timeout of at least (attempts + 1) times perTryTimeout, or fewer attempts, or a shorter perTryTimeout.",
)
UNKNOWN_RETRY_CONDITION = Rule(
    "SEG031",
    "UnknownRetryCondition",
    "The policy retries on a condition that Istio does not know, so Istio refuses every VirtualService with it.",
    "Write one of Envoy's words that Istio takes, or an HTTP status code; docs/policy.md lists them.",
)
UNREACHABLE_NAMESPACES = Rule(
    "SEG032",
    "UnreachableNamespaces",
    "An entry of the policy's namespaces never counts: an earlier one matches all that it matches.",
    "Move the entry before the wider one, or remove it.",
)
RETRIES_OFF = Rule(
    "SEG033",
    "RetriesOff",
    "The policy sets how to retry beside attempts: 0, and no annotation may ask for attempts.",
    "Write attempts of 1 or more, or leave the other settings of retries out.",
)
EMPTY_DESTINATION_RULE = Rule(
    "SEG034",
    "EmptyDestinationRule",
    "The policy enables DestinationRules and leaves nothing to write into one, so none is emitted.",
    "Set a field of connectionPool or tlsOrigination, or write enabled: false.",
)
EXEMPTION_WITHOUT_END = Rule(
    "SEG035",
    "ExemptionWithoutEnd",
    "The policy requires an end of exemptions, and exempts hosts or namespaces itself without one.",
    "Move them to exemptions.temporary, with until and a reason, or remove requireExpiry.",
)
EXEMPTION_TOO_LONG = Rule(
    "SEG036",
    "ExemptionTooLong",
    "A temporary exemption of the policy ends later than maxDuration allows.",
    "Write an earlier day as until, or a longer maxDuration.",
)
EXEMPTION_OVER = Rule(
    "SEG037",
    "ExemptionOver",
    "A temporary exemption of the policy has ended. Entries that were not written since are left alone still.",
    "Remove it once audit shows no entry that needs it, or write a later day as until.",
)
UNREACHABLE_OWNER = Rule(
    "SEG038",
    "UnreachableOwner",
    "An entry of hosts.owners never counts: an earlier one matches all of its hosts.",
    "Move the entry before the wider one, or remove it.",
)
