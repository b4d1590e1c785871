"""Templates of the findings on one entry.

The rules fill them in Python; for the backstop the API server fills them in CEL.
"""

WILDCARD_HOST = "{host} is a wildcard, which cannot be resolved"
NOT_FQDN = "{host} is not a fully qualified domain name"
CIDR_ADDRESS = "{address} is a CIDR, which Istio rejects with resolution DNS"
MATCHED_BY_ADDRESS = "Istio matches {address} instead of the host, which may not exist in DNS"
MIXED_PORTS = "{port} names no host and another port does, so resolution {resolution} cannot become DNS"
ENDPOINTS_WITHOUT_RESOLUTION = "Istio rejects endpoints with resolution NONE, which an unset resolution means"
SHARED_PORT = "{port} cannot tell {count} hosts apart"
WORKLOAD_SELECTOR = "picks endpoints inside the mesh, so resolution {resolution} cannot become DNS"
WILDCARD_ENTRY = "{host} is a wildcard, as is every host here: there is no name to resolve"
HOST_OWNED = "{host} belongs to namespace {owner}"
EXPORTED_TO_ALL = "every namespace sees this entry, and the policy asks for fewer"
STATIC_ENDPOINTS = "STATIC endpoints keep their addresses when the addresses of the host change"
RESOLUTION_CHANGED = "{resolution} {change} {target}, so that retries can reach another address"
BECOMES, WOULD_BECOME = "becomes", "would become"
NOT_MUTATED = "should have become {target}: mutation was skipped, timed out, or another webhook reverted it"

FORBIDDEN = "has no effect: the policy forbids this annotation"
NO_DEADLINE_FORBIDDEN = "means no deadline; the policy does not allow that"
NOT_WHOLE = "is not a whole number"
OUT_OF_BOUNDS = "is outside {least} to {most}, the bounds of the policy"
NOT_GRANTED = "contains {word}; the policy allows {words}"
NOT_DISABLED = "has no effect: the only value is Disabled"

SENTENCE = "{code}{place}: {message}"
WITH_REMEDY = "{sentence}. {remedy}"
AND_MORE = "{message} (and {more} more)"
PORT = "port {number} ({protocol})"
NO_PROTOCOL = "no protocol"
