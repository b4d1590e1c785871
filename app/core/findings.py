"""The catalogue of findings: every sentence that the guard says about an object has a stable code here."""

import enum
from dataclasses import dataclass

from app.core import sentences
from app.core.resources import Key

QUOTED = 60
"""Longest piece of an author's text that is repeated in a message, in characters."""


class Severity(enum.Enum):
    """ERROR refuses, WARNING is told at admission, INFO is told only where someone asks."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of finding. `code` never changes its meaning; `remedy` says what to write instead."""

    code: str
    name: str
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding on one object; `path` is a field in Kubernetes' notation, "" for the whole object.

    `other` is the kind and key of another object that the message names.
    """

    rule: Rule
    severity: Severity
    path: str
    message: str
    other: tuple[str, Key] | None = None

    @property
    def code(self) -> str:
        """The rule's stable code."""
        return self.rule.code

    @property
    def sentence(self) -> str:
        """Code, place and message in one line."""
        place = f" {self.path}" if self.path else ""
        return sentences.SENTENCE.format(code=self.code, place=place, message=self.message)

    @property
    def advice(self) -> str:
        """The sentence, and what to write instead."""
        return sentences.WITH_REMEDY.format(sentence=self.sentence, remedy=self.rule.remedy)


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
    "List each host by its full name.",
)
CIDR_ADDRESS = Rule(
    "SEG006",
    "CidrAddress",
    "Istio refuses CIDR addresses, /32 and /128 too, with resolution DNS.",
    "Remove addresses: with resolution DNS the host's name is enough.",
)
SHARED_PORT = Rule(
    "SEG007",
    "SharedPort",
    "Several hosts on a port that is neither HTTP nor TLS cannot be told apart with resolution DNS.",
    "Write one ServiceEntry per host, or give the port a protocol that names its host (HTTP, TLS).",
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
    "List each host by its full name, or write resolution: DYNAMIC_DNS, which resolves the name in each request.",
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
    "The exempt annotation is not honoured: the policy forbids it, or it gives no reason.",
    "Give a reason as the annotation's value, or ask the platform team for an exemption in the policy.",
)
UNKNOWN_ANNOTATION = Rule(
    "SEG015",
    "UnknownAnnotation",
    "An annotation has our prefix and a name that means nothing.",
    "Correct its name, or remove it.",
)
RETRIES_NOT_APPLICABLE = Rule(
    "SEG020",
    "RetriesNotApplicable",
    "HTTP retries do nothing on a port whose requests the proxy cannot read.",
    "Let the application speak plain HTTP and the sidecar originate TLS, or retry in the application.",
)
HOST_CONFLICT = Rule(
    "SEG021",
    "HostConflict",
    "Another object, which the guard does not manage, already claims the host; sidecars count only one.",
    "Add retries to that object, or remove it: the guard's own then takes its place.",
)
HOST_SHARED = Rule(
    "SEG022",
    "HostShared",
    "An older ServiceEntry of the namespace claims the same host and decides its VirtualService.",
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
REPEATED_ENTRY = Rule(
    "SEG050",
    "RepeatedEntry",
    "Several manifests of one cluster have the same namespace and name; the one applied last replaces the others.",
    "Keep one of them, or tell review which folders are clusters of their own: as PATHs, or with --cluster-folders.",
)

CATALOGUE: dict[str, Rule] = {
    rule.code: rule
    for rule in sorted(
        (value for value in list(globals().values()) if isinstance(value, Rule)), key=lambda rule: rule.code
    )
}

UNFIXABLE = frozenset({WILDCARD_HOST, CIDR_ADDRESS, SHARED_PORT, WORKLOAD_SELECTOR, NOT_FQDN, WILDCARD_ENTRY})
"""What keeps an entry from becoming DNS."""


def printable(text: str) -> str:
    """Repeat an author's text in a message: no control characters, and of bounded length."""
    shown = "".join(char if char.isprintable() else "?" for char in text[: QUOTED + 1])
    return shown if len(shown) <= QUOTED else f"{shown[:QUOTED]}…"


def quoted(text: str) -> str:
    """Repeat an author's text in quotes."""
    return f'"{printable(text)}"'


def and_more(message: str, count: int) -> str:
    """Say that a message stands for `count` places."""
    return message if count == 1 else sentences.AND_MORE.format(message=message, more=count - 1)


def port_label(number: int, protocol: str) -> str:
    """Name a port in a message."""
    return sentences.PORT.format(number=number, protocol=printable(protocol) or sentences.NO_PROTOCOL)
