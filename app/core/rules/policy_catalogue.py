"""The findings on a policy. `catalogue` has those on objects, and the list of all."""

from app.core.rules.findings import Rule

TIMEOUT_TOO_SHORT = Rule(
    "SEG030",
    "TimeoutTooShort",
    "The policy's timeout is shorter than all tries together, so it can end a request before its last try.",
    "Write a timeout of at least (attempts + 1) times perTryTimeout, or fewer attempts, or a shorter perTryTimeout.",
)
UNKNOWN_RETRY_CONDITION = Rule(
    "SEG031",
    "UnknownRetryCondition",
    "The policy retries on a condition that Istio does not know, so Istio rejects every VirtualService with it.",
    "Write a retry condition that Istio accepts, or an HTTP status code; docs/policy.md lists them.",
)
UNREACHABLE_NAMESPACES = Rule(
    "SEG032",
    "UnreachableNamespaces",
    "An item of the policy's namespaces is never used: an earlier item matches all that it matches.",
    "Move the item before the wider one, or remove it.",
)
RETRIES_OFF = Rule(
    "SEG033",
    "RetriesOff",
    "The policy has retry settings although attempts is 0 and no annotation may raise it.",
    "Write attempts of 1 or more, or remove the other settings of retries.",
)
EMPTY_DESTINATION_RULE = Rule(
    "SEG034",
    "EmptyDestinationRule",
    "The policy enables DestinationRules but sets none of their fields, so none is emitted.",
    "Set a field of connectionPool or tlsOrigination, or write enabled: false.",
)
EXEMPTION_WITHOUT_END = Rule(
    "SEG035",
    "ExemptionWithoutEnd",
    "The policy requires an end date for exemptions, and itself exempts hosts or namespaces without one.",
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
    "A temporary exemption of the policy has ended. Entries that were not written since then are still exempt.",
    "Remove it once audit shows no entry that needs it, or write a later day as until.",
)
UNREACHABLE_OWNER = Rule(
    "SEG038",
    "UnreachableOwner",
    "An item of hosts.owners is never used: an earlier item matches all of its hosts.",
    "Move the item before the wider one, or remove it.",
)
