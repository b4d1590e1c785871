"""A ServiceEntry as a candidate for emission: the result of the policy for the entry alone, computed once.

Whether objects are emitted for one of its hosts also depends on other entries: `homes` and `reach` decide that.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from app.core.policy.model import GuardPolicy, Mode, Settings
from app.core.policy.tenancy import Temporary
from app.core.resources.globs import matches
from app.core.resources.hosts import names_service
from app.core.resources.records import Record, replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.limits import Exceeded, Size, measure
from app.core.routes.observed import KINDS
from app.core.rules.exemptions import exemption
from app.core.rules.overrides import Tuning, tune
from app.core.rules.resolution import in_scope
from app.core.rules.retries import NO_ONE, routable

PUBLIC, OWN = "*", "."
EVERYONE = frozenset({PUBLIC})
NONE = frozenset[str]()
NO_PORTS = frozenset[int]()
NO_SIZE = Size()

Age = tuple[bool, str, str, str]
Wanted = tuple[str, str]
"""An object that an entry asks for: a kind, and a canonical host."""


class Audience(Record):
    """Other namespaces that an entry names in exportTo and that have the same settings."""

    settings: Settings
    names: frozenset[str]
    unwilling: Mapping[str, str]
    """The namespaces that the settings exclude by name, and the setting."""
    exempt: tuple[tuple[Temporary, frozenset[str]], ...] = ()
    """Exemptions with an end date, also past ones, and their namespaces: nothing changes at the end by itself."""


class Candidate(Record, eq=False):
    """An entry with its settings, overrides and visibility, and the reason why nothing is emitted for it, if any."""

    entry: ServiceEntry
    settings: Settings
    tuning: Tuning
    seen_by: frozenset[str]
    """The namespaces that see the entry, with their names; `*` for each."""
    reasons: tuple[str | None, ...]
    """For each kind the reason why no object of it is emitted for any host."""
    services: frozenset[str]
    """Its hosts that are names of Kubernetes Services."""
    ports: frozenset[int] = NO_PORTS
    """The numbers of its HTTP ports."""
    size: Size = NO_SIZE
    exceeded: Exceeded | None = None
    """The limit that it exceeds, if objects would be emitted otherwise."""
    audiences: tuple[Audience, ...] = ()
    """The other namespaces in exportTo, if objects are emitted."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.entry.key

    def withheld(self, kind: str, host: str) -> str | None:
        """Return the reason why no object of a kind is emitted for a host, if any."""
        if host in self.services:
            return "it is a Kubernetes Service's name"
        if reason := self.reasons[KINDS.index(kind)]:
            return reason
        return self.exceeded.what if self.exceeded else None

    def wanted(self) -> Iterator[Wanted]:
        """Yield the objects that the entry asks for."""
        hosts = {host.canonical for host in self.entry.hosts if host.object_name} - self.services
        for kind, reason in zip(KINDS, self.reasons, strict=True):
            if reason is None and self.exceeded is None:
                yield from ((kind, host) for host in hosts)


Declarations = Mapping[int, Mapping[str, Sequence[Candidate]]]
"""The entries by the port that they declare and its protocol, in the given order."""


def candidate(entry: ServiceEntry, policy: GuardPolicy) -> Candidate:
    """Apply the policy to an entry."""
    settings = policy.settings(entry.key.namespace)
    tuning = tune(entry.annotations, settings.virtual_service)[0]
    shared = _withheld(entry, settings)
    reasons = _same(tuple(shared or _nothing_to_write(entry, settings, tuning, kind) for kind in KINDS))
    named = (host.canonical for host in entry.hosts)
    services = frozenset(host for host in named if names_service(host, settings.scope.cluster_domains)) or NONE
    ports = _set(tuple(port.number for port in entry.ports if port.http))
    found = Candidate(entry, settings, tuning, seen_by(entry), reasons, services, ports)
    if not any(found.wanted()):
        return found
    size, exceeded = measure(entry, len(ports), tuning, settings)
    return replace(found, size=size, exceeded=exceeded, audiences=() if exceeded else tuple(_audiences(found, policy)))


def _audiences(candidate: Candidate, policy: GuardPolicy) -> Iterator[Audience]:
    groups = defaultdict[int, list[str]](list)
    settings: dict[int, Settings] = {}
    for name in candidate.seen_by - {PUBLIC, candidate.key.namespace}:
        found = policy.settings(name)
        settings[id(found)] = found
        groups[id(found)].append(name)
    for each, names in groups.items():
        exempt = tuple(_exempt(names, settings[each]))
        yield Audience(settings[each], frozenset(names), dict(_unwilling(names, settings[each])), exempt)


def _unwilling(names: Iterable[str], settings: Settings) -> Iterator[tuple[str, str]]:
    for name in names:
        if matches(name, settings.scope.excluded_namespaces):
            yield name, "scope.excludedNamespaces"
        elif matches(name, settings.exemptions.namespaces):
            yield name, "exemptions.namespaces"


def _exempt(names: Iterable[str], settings: Settings) -> Iterator[tuple[Temporary, frozenset[str]]]:
    for temporary in settings.exemptions.temporary:
        yield temporary, frozenset(name for name in names if matches(name, temporary.namespaces))


def seen_by(entry: ServiceEntry) -> frozenset[str]:
    """Return the namespaces that see an entry, with their names; `*` for each."""
    return exported_to(entry.export_to, entry.key.namespace)


def exported_to(export_to: Collection[str], namespace: str) -> frozenset[str]:
    """Return the namespaces that see an object of a namespace with this exportTo, with their names; `*` for each."""
    if not export_to or PUBLIC in export_to:
        return EVERYONE
    return frozenset(namespace if name == OWN else name for name in export_to)


def disagreeing(candidates: Iterable[Candidate]) -> Declarations:
    """Return the ports that entries declare with more than one protocol."""
    declared = defaultdict[int, dict[str, list[Candidate]]](dict)
    for each in candidates:
        for port in each.entry.ports:
            declared[port.number].setdefault(port.protocol, []).append(each)
    return {number: protocols for number, protocols in declared.items() if len(protocols) > 1}


def seen_together(candidates: Iterable[Candidate]) -> frozenset[str]:
    """Return the namespaces that see all of the entries."""
    seen = EVERYONE
    for each in candidates:
        seen = meet(seen, each.seen_by)
    return seen


def meet(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    """Return the namespaces that two sets have in common."""
    if left is right:
        return left
    if PUBLIC in left or PUBLIC in right:
        return right if PUBLIC in left else left
    return left & right


def age(entry: ServiceEntry) -> Age:
    """Sort as istiod does: oldest first, then by namespace; manifests that were never stored come last."""
    return not entry.created, entry.created, entry.key.namespace, entry.key.name


def precedence(first: str, second: str) -> str:
    """Return the reason why an entry comes before another, by creation time: `age` sorts equal ones by name."""
    return "older" if first != second else "first by name"


@lru_cache(maxsize=1024)
def _same(reasons: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """Return the same object for equal reasons, to save memory: most entries share a few."""
    return reasons


@lru_cache(maxsize=1024)
def _set(numbers: tuple[int, ...]) -> frozenset[int]:
    """Return the same object for equal sets, to save memory: most entries share a few."""
    return frozenset(numbers)


def _withheld(entry: ServiceEntry, settings: Settings) -> str | None:
    """Return the reason why nothing is emitted for an entry, if any."""
    if settings.mode is not Mode.ENFORCE:
        return f"mode is {settings.mode.value}"
    if not in_scope(entry, settings):
        return "it is not in the policy's scope"
    if exempted := exemption(entry, settings):
        return exempted.message
    if not routable(entry, entry.resolution):
        return _unroutable(entry)
    return None


def _unroutable(entry: ServiceEntry) -> str:
    if entry.terminating:
        return "it is being deleted"
    return "exportTo hides it" if NO_ONE in entry.export_to else f"resolution is {entry.resolution}"


def _nothing_to_write(entry: ServiceEntry, settings: Settings, tuning: Tuning, kind: str) -> str | None:
    if kind == "DestinationRule":
        return None if settings.destination_rule.enabled else "the policy emits no DestinationRule"
    if not any(port.http for port in entry.ports):
        return "it has no HTTP port"
    return None if tuning.emit else "its VirtualService is disabled"
