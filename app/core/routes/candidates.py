"""A ServiceEntry as a candidate for emission: what the policy says about it alone, found out once when it comes.

Whether anything is emitted for one of its hosts depends on its neighbours besides: `homes` and `reach` decide that.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from app.core.policy.model import GuardPolicy, Mode, Settings
from app.core.policy.tenancy import Temporary
from app.core.resources.globs import matches
from app.core.resources.hosts import names_service
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


@dataclass(frozen=True, slots=True)
class Audience:
    """Other namespaces that an entry names in exportTo and that have the same settings."""

    settings: Settings
    names: frozenset[str]
    unwilling: Mapping[str, str]
    """Those that the settings leave out by name, and where."""
    exempt: tuple[tuple[Temporary, frozenset[str]], ...] = ()
    """Exemptions that have an end, or had one, and those that they name: what runs stays as it is after it."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An entry with its settings, its overrides, who sees it, and why nothing is emitted for it, if so."""

    entry: ServiceEntry
    settings: Settings
    tuning: Tuning
    seen_by: frozenset[str]
    """The namespaces that see the entry, with their names; `*` for each."""
    reasons: tuple[str | None, ...]
    """For each kind why no object of it is emitted for any host."""
    services: frozenset[str]
    """Its hosts that are names of Kubernetes Services."""
    ports: frozenset[int] = NO_PORTS
    """The numbers of its HTTP ports."""
    size: Size = NO_SIZE
    exceeded: Exceeded | None = None
    """The limit that it exceeds, where something would be emitted otherwise."""
    audiences: tuple[Audience, ...] = ()
    """The other namespaces that exportTo names, where something is emitted."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.entry.key

    def withheld(self, kind: str, host: str) -> str | None:
        """Say why nothing of a kind is emitted for a host, if so."""
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
"""The entries that declare a port with a protocol, in the order in which they came, by the number of the port."""


def candidate(entry: ServiceEntry, policy: GuardPolicy) -> Candidate:
    """Find out what the policy says about an entry."""
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


def _audiences(one: Candidate, policy: GuardPolicy) -> Iterator[Audience]:
    groups = defaultdict[int, list[str]](list)
    settings: dict[int, Settings] = {}
    for name in one.seen_by - {PUBLIC, one.key.namespace}:
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
    for one in settings.exemptions.temporary:
        yield one, frozenset(name for name in names if matches(name, one.namespaces))


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
    for one in candidates:
        for port in one.entry.ports:
            declared[port.number].setdefault(port.protocol, []).append(one)
    return {number: protocols for number, protocols in declared.items() if len(protocols) > 1}


def seen_together(candidates: Iterable[Candidate]) -> frozenset[str]:
    """Return the namespaces that see all of the entries."""
    seen = EVERYONE
    for one in candidates:
        seen = meet(seen, one.seen_by)
    return seen


def meet(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """Return the namespaces that two sets have in common."""
    if one is other:
        return one
    if PUBLIC in one or PUBLIC in other:
        return other if PUBLIC in one else one
    return one & other


def age(entry: ServiceEntry) -> Age:
    """Order as istiod does: oldest first, then by namespace; manifests that were never stored come last."""
    return not entry.created, entry.created, entry.key.namespace, entry.key.name


def precedence(first: str, second: str) -> str:
    """Say why an entry comes before another, given when each was created: `age` orders equals by their names."""
    return "older" if first != second else "first by name"


@lru_cache(maxsize=1024)
def _same(reasons: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """Return the same object for the same reasons: most entries have one of few."""
    return reasons


@lru_cache(maxsize=1024)
def _set(numbers: tuple[int, ...]) -> frozenset[int]:
    """Return a set, the same object for the same numbers: most entries have one of few."""
    return frozenset(numbers)


def _withheld(entry: ServiceEntry, settings: Settings) -> str | None:
    """Say why nothing at all is emitted for an entry, if so."""
    if settings.mode is not Mode.ENFORCE:
        return f"mode is {settings.mode.value}"
    if not in_scope(entry, settings):
        return "it is not in the policy's scope"
    if exempted := exemption(entry, settings):
        return exempted.message
    if not routable(entry):
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
