"""Which namespaces see what is emitted for a host: only those that agree to it.

For one sidecar, istiod looks at VirtualServices in this order, each group oldest first: private ones of its own
namespace; those whose exportTo names the namespace; HTTPRoutes of the namespace; public ones. So a private one wins at
home, and a public one decides in every namespace that has none of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from app.core.policy.model import GuardPolicy, Mode, Settings
from app.core.policy.traffic import Overrides, Reach, VirtualService
from app.core.resources.globs import matches
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.candidates import OWN, PUBLIC, Audience, age, meet
from app.core.routes.homes import Home
from app.core.routes.host_entries import HTTP_PORT, EntryRef
from app.core.routes.observed import KINDS, Observed
from app.core.routes.other_entries import OtherEntries
from app.core.rules.findings import Finding


@dataclass(frozen=True, slots=True)
class Company:
    """What stands beside a home, as far as it matters for objects of a kind: other entries, and others' routes."""

    kind: str
    others: OtherEntries
    claims: tuple[Observed, ...]

    @property
    def oldest(self) -> EntryRef | None:
        """The oldest public entry of another namespace for which an object is emitted."""
        return self.others.public[KINDS.index(self.kind)]

    @property
    def silent(self) -> EntryRef | None:
        """The oldest entry of another namespace for which none is."""
        return self.others.silent[KINDS.index(self.kind)]


@dataclass(frozen=True, slots=True)
class Decision:
    """The namespaces that see what is emitted (`exportTo` as it is written), and why they are fewer than the entry's.

    None: there is no namespace that may see it.
    """

    export_to: tuple[str, ...] | None
    finding: Finding | None = None


def reach(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> Decision:
    """Decide who sees what is emitted at a home; `agrees` picks the settings that must be those of the home."""
    if home.settings.virtual_service.reach is Reach.NAMESPACE:
        return _confined(home)
    if why := _confinement(home, company, policy, agrees):
        return _confined(home, why)
    if PUBLIC in home.seen_by:
        return Decision(_written(home.owner.entry))
    left_out = _left_out(home, company, agrees)
    if not left_out:
        return _exported(home, home.seen_by)
    name = min(left_out)
    finding = home.confined(f"namespace {name} {left_out[name]}, so it does not see what is emitted")
    return _exported(home, home.seen_by - left_out.keys(), finding)


def _confinement(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> str | None:
    """Say why only the home's own namespace may see what is emitted there, if so."""
    if any(one.tuning.overridden for one in home.entries) and _own_overrides(home):
        return "its annotations count in its own namespace only"
    if (oldest := company.oldest) and _younger(home, oldest):
        return f"ServiceEntry {oldest.key} is {_standing_before(home, oldest)}"
    return next(_objections(home, company, policy, agrees), None) if PUBLIC in home.seen_by else None


def _objections(
    home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]
) -> Iterator[str]:
    """Yield who does not agree to what is emitted for a public entry."""
    if silent := company.silent:
        yield f"ServiceEntry {silent.key} is for the host as well, and nothing is emitted for it: {silent.reason}"
    if wild := company.others.wild:
        yield f"ServiceEntry {wild.key} has a wildcard that covers the host, or a host that this one covers"
    if differing := _differing(home, company):
        yield f"ServiceEntry {differing[1].key} declares port {differing[0]} of the host with another protocol"
    if (lacking := company.others.without_port_80) and _serves_port_80(home):
        yield f"namespace {lacking} has an entry of its own for the host, without port {HTTP_PORT}"
    for path, _, settings in policy.layers():
        if setting := _dissent(settings, home, agrees) or _names_some(settings, home.host):
            yield f"the policy does not emit the same everywhere ({path}{setting})"
    for claim in company.claims:
        if claim.visible_beyond(home.namespace):
            yield f"{claim.kind} {claim.key} routes the host in other namespaces"


def _younger(home: Home, oldest: EntryRef) -> bool:
    """Say whether no public entry of the home is older than one of another namespace."""
    return not any(PUBLIC in one.seen_by and age(one.entry) < oldest.age for one in home.entries)


def _differing(home: Home, company: Company) -> tuple[int, EntryRef] | None:
    """Return an HTTP port of the home that others see with another protocol, and the entry that declares it so.

    A sidecar that sees that entry takes the protocol from there, and the routes from here.
    """
    protocols = company.others.protocols
    for number, protocol in _http_ports(home) if protocols else ():
        for other, entry in protocols.get(number, {}).items():
            if other != protocol:
                return number, entry
    return None


def _http_ports(home: Home) -> Iterator[tuple[int, str]]:
    return ((port.number, port.protocol) for one in home.entries for port in one.entry.ports if port.http)


def _standing_before(home: Home, oldest: EntryRef) -> str:
    """Say what an entry of another namespace is before those of the home: names decide where ages are the same."""
    created = {one.entry.created for one in home.entries if PUBLIC in one.seen_by}
    named = oldest.created in created
    return f"the {'first' if named else 'oldest'} public one for the host{' by name' if named else ''}"


def _serves_port_80(home: Home) -> bool:
    return any(port.http and port.number == HTTP_PORT for one in home.entries for port in one.entry.ports)


def _own_overrides(home: Home) -> bool:
    return home.settings.virtual_service.overrides.reach is Reach.NAMESPACE


def _left_out(home: Home, company: Company, agrees: Callable[[Settings], object]) -> dict[str, str]:
    """Return the namespaces that an entry names and that do not agree, each with the reason."""
    named = home.seen_by - {home.namespace}
    found = {name: f"sees {one.kind} {one.key}, which routes the host" for name, one in _claimed(named, company)}
    ports = dict(_http_ports(home))
    for one in company.others.same:
        if any(port.protocol != ports.get(port.number, port.protocol) for port in one.entry.ports):
            found.update(dict.fromkeys(meet(named, one.seen_by), "sees another protocol for a port of the host"))
        if age(one.entry) < age(home.owner.entry):
            same = one.entry.created == home.owner.entry.created
            why = "sees an entry for the host that is first by name" if same else "sees an older entry for the host"
            found.update(dict.fromkeys(meet(named, one.seen_by), why))
    for name in (*(one.key.namespace for one in company.others.same), *company.others.meeting):
        if name in named:
            found[name] = "has an entry of its own for the host"
    naming = next(one for one in home.entries if PUBLIC not in one.seen_by)
    for audience in naming.audiences:
        found.update(
            {name: f"does not agree ({why})" for name, why in _dissenting(audience, home, agrees) if name in named}
        )
    return found


def _dissenting(audience: Audience, home: Home, agrees: Callable[[Settings], object]) -> Iterable[tuple[str, str]]:
    """Yield the namespaces of an audience that do not agree, and the setting that keeps each."""
    if why := _dissent(audience.settings, home, agrees):
        return dict.fromkeys(audience.names, why).items()
    exempt = {
        name: "exemptions.temporary"
        for one, names in audience.exempt
        if matches(home.host, one.hosts)
        for name in names
    }
    return (exempt | dict(audience.unwilling)).items()


def _claimed(named: frozenset[str], company: Company) -> Iterator[tuple[str, Observed]]:
    """Yield the namespaces that see an object of others; of several objects the first comes last, and counts."""
    for one in reversed(company.claims):
        seen = named if one.public else named & {*one.export_to}
        yield from ((name, one) for name in {*seen, *(named & {one.key.namespace} if OWN in one.export_to else ())})


def _dissent(settings: Settings, home: Home, agrees: Callable[[Settings], object]) -> str | None:
    """Say which setting keeps all namespaces that have it from what is emitted at a home."""
    if settings.mode is not Mode.ENFORCE:
        return f"mode: {settings.mode.value}"
    if matches(home.host, settings.exemptions.hosts):
        return "exemptions.hosts"
    return None if settings is home.settings or agrees(settings) == agrees(home.settings) else "other settings"


def _names_some(settings: Settings, host: str) -> str | None:
    """Say which setting keeps some namespaces by their names from what others emit for a host."""
    if settings.scope.excluded_namespaces:
        return "scope.excludedNamespaces"
    if settings.exemptions.namespaces:
        return "exemptions.namespaces"
    exempt = any(matches(host, one.hosts) for one in settings.exemptions.temporary)
    return "exemptions.temporary" if exempt else None


def routing_of(settings: Settings) -> VirtualService:
    """Return what VirtualServices are made from where no annotation counts."""
    return replace(settings.virtual_service, overrides=Overrides(), reach=Reach.ENTRY, yield_to=())


def _confined(home: Home, why: str | None = None) -> Decision:
    if home.seen_by == {home.namespace}:
        return _exported(home, home.seen_by)
    finding = home.confined(f"only namespace {home.namespace} sees it: {why}") if why else None
    return _exported(home, meet(home.seen_by, frozenset({home.namespace})), finding)


def _exported(home: Home, seen: frozenset[str], finding: Finding | None = None) -> Decision:
    """Write exportTo; as the owner has it, if that says the same."""
    if not seen:
        return Decision(None, finding)
    if seen == home.owner.seen_by:
        return Decision(_written(home.owner.entry), finding)
    return Decision(tuple(sorted(OWN if name == home.namespace else name for name in seen)), finding)


def _written(owner: ServiceEntry) -> tuple[str, ...]:
    """Write exportTo as the owner has it, as far as Istio takes it on a VirtualService: each namespace once."""
    if PUBLIC in owner.export_to:
        return (PUBLIC,)
    return tuple(dict.fromkeys(OWN if name == owner.key.namespace else name for name in owner.export_to))
