"""Hosts as ServiceEntries spell them, parsed so that they can be compared.

The grammar is that of Istio's validation (`ValidateWildcardDomain`, `ValidateFQDN`), with two differences: a name
without a dot is not fully qualified, and a name is at most 253 characters long, as DNS has it (RFC 1035).
"""

import enum
import re
from collections.abc import Iterable
from functools import lru_cache

from app.core.resources.records import Record

MAX_NAME = 253
"""Maximum length of a DNS name, and of the name of a Kubernetes object, in characters."""

LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
"""Regular expression of one label, in lower case."""
_LABELS = re.compile(rf"{LABEL}(?:\.{LABEL})*")
_RESERVED = "wildcard"
_SECOND = ".2"
_USUAL = re.compile(rf"(?!{_RESERVED})(?:{LABEL}\.)+(?![0-9]+\Z){LABEL}")
"""A host in lower case whose objects have its own name, apart from its length."""


class HostKind(enum.Enum):
    """The kinds of hosts: an FQDN can be resolved, a wildcard can only be matched, an invalid host neither."""

    FQDN = "FQDN"
    WILDCARD = "WILDCARD"
    INVALID = "INVALID"


class Host(Record):
    """One host of a ServiceEntry.

    `text` is the author's spelling: Envoy's cluster names are made from it, so routes must repeat it.
    `canonical` is what hosts are compared by; `object_name` names the objects emitted for it.
    """

    text: str
    canonical: str
    kind: HostKind
    object_name: str

    @classmethod
    def parse(cls, text: str) -> "Host":
        """Parse any text; a text that is not a host gets the kind INVALID and no object name."""
        if len(text) <= MAX_NAME - len(_SECOND) and _USUAL.fullmatch(text):
            return cls(text, text, HostKind.FQDN, text)
        return cls._parse_any(text)

    @classmethod
    def _parse_any(cls, text: str) -> "Host":
        """Parse any text, step by step."""
        canonical = canonical_host(text)
        kind = _kind(canonical)
        name = "" if kind is HostKind.INVALID else object_name(canonical)
        return cls(text, canonical, kind, canonical if name == canonical else name)


def canonical_host(text: str) -> str:
    """Return the host in lower case without the final dot.

    Only ASCII is folded: U+212A (the Kelvin sign) would become an ordinary "k", and the host would equal another one.
    """
    canonical = (text.lower() if text.isascii() else text).removesuffix(".")
    return text if canonical == text else canonical  # most are the same: one object for both saves memory


def object_name(canonical: str) -> str:
    """Name the objects of a valid host: the host itself, and `wildcard.x.y` for `*.x.y`.

    Different hosts never share a name: a host whose own first label begins with "wildcard" gets a different name, and
    a name that is too long for a suffix within Kubernetes' 253 characters is replaced by its SHA-256.
    """
    if not canonical.startswith(("*", _RESERVED)) and len(canonical) <= MAX_NAME - len(_SECOND):
        return canonical
    label, dot, rest = canonical.partition(".")
    if label == "*":
        label = _RESERVED
    elif label.startswith("*"):
        label = f"{_RESERVED}-any-{label[1:]}"
    elif label.startswith(_RESERVED):
        label = f"{_RESERVED}-host-{label}"
    name = f"{label}{dot}{rest}"
    if len(name) > MAX_NAME - len(_SECOND):
        import hashlib  # noqa: PLC0415 - it loads OpenSSL, and few hosts are so long

        return f"{_RESERVED}-long-{hashlib.sha256(canonical.encode()).hexdigest()}"
    return name


def second_name(name: str) -> str:
    """Return the second name of an object, for the case that another object, which claims nothing, has the first.

    No host ends in a number, so it is not the first name of another host.
    """
    return name + _SECOND


def first_name(name: str) -> str:
    """Return the first name for a second name, and any other name unchanged."""
    return name.removesuffix(_SECOND)


def covers(pattern: str, host: str) -> bool:
    """Say whether a canonical VirtualService host, which may be a wildcard, matches a canonical host.

    A wildcard covers every host that ends in its suffix, other wildcards included, as in Istio's `host.Name.SubsetOf`.
    """
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    return pattern == host


def names_service(canonical: str, domains: Iterable[str]) -> bool:
    """Say whether a host is the name of a Kubernetes Service in one of the cluster's DNS domains, or covers such names.

    `reviews.default.svc` is short for the name in any domain, and `*.cluster.local` covers every Service's.
    """
    suffixes = _service_suffixes(tuple(domains))
    if canonical.startswith("*"):
        return any(suffix.endswith(canonical[1:]) or canonical.endswith(suffix) for suffix in suffixes)
    return canonical.endswith(suffixes)


def names_pod(canonical: str, domains: Iterable[str]) -> bool:
    """Say whether a host is the name that a StatefulSet's headless Service gives a Pod: pod.service.namespace.svc."""
    for suffix in _service_suffixes(tuple(domains)):
        if canonical.endswith(suffix):
            return canonical.removesuffix(suffix).count(".") == 2 and "*" not in canonical
    return False


@lru_cache(maxsize=64)
def _service_suffixes(domains: tuple[str, ...]) -> tuple[str, ...]:
    return (".svc", *(f".svc.{domain}" for domain in domains))


def _kind(canonical: str) -> HostKind:
    if len(canonical) > MAX_NAME:
        return HostKind.INVALID
    first, dot, rest = canonical.partition(".")
    if first.startswith("*"):
        tail = first[1:].removeprefix("-")
        valid = first != "*-" and _labels_valid(f"{tail}{dot}{rest}" if tail else rest)
        return HostKind.WILDCARD if valid else HostKind.INVALID
    return HostKind.FQDN if dot and _labels_valid(canonical) else HostKind.INVALID


def _labels_valid(name: str) -> bool:
    return _LABELS.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()
