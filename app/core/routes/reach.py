"""The reach of an emitted object: only namespaces that agree to it see it.

For one sidecar, istiod uses VirtualServices in this order, oldest first in each group: private ones of its own
namespace; those whose exportTo names the namespace; HTTPRoutes of the namespace; public ones. So a private one wins in
its own namespace, and a public one applies in every namespace that has none of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from app.core.policy.model import GuardPolicy, Mode, Settings
from app.core.policy.traffic import Overrides, Reach, VirtualService
from app.core.resources.globs import matches
from app.core.resources.records import Record
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.candidates import OWN, PUBLIC, Audience, age, meet
from app.core.routes.homes import Home
from app.core.routes.host_entries import HTTP_PORT, EntryRef
from app.core.routes.observed import KINDS, Observed
from app.core.routes.other_entries import OtherEntries
from app.core.rules.findings import Finding


class Company(Record):
    """The context of a home for objects of a kind: other entries, and routes of others."""

    kind: str
    others: OtherEntries
    claims: tuple[Observed, ...]

    @property
    def oldest(self) -> EntryRef | None:
        """The oldest public entry of another namespace for which an object is emitted."""
        return self.others.public[KINDS.index(self.kind)]

    @property
    def silent(self) -> EntryRef | None:
        """The oldest entry of another namespace without an emitted object."""
        return self.others.silent[KINDS.index(self.kind)]


class Visibility(Record):
    """The namespaces that see the object, as in `exportTo`, and why they are fewer than the entry's. None: none may."""

    export_to: tuple[str, ...] | None
    finding: Finding | None = None


def reach(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> Visibility:
    """Decide the reach of a home's object; `agrees` picks the settings that must equal those of the home."""
    if home.settings.virtual_service.reach is Reach.NAMESPACE:
        return _confined(home)
    if why := _confinement(home, company, policy, agrees):
        return _confined(home, why)
    if PUBLIC in home.seen_by:
        return Visibility(_written(home.owner.entry))
    left_out = _left_out(home, company, agrees)
    if not left_out:
        return _exported(home, home.seen_by)
    name = min(left_out)
    finding = home.confined(f"namespace {name} {left_out[name]}, so it does not see the object")
    return _exported(home, home.seen_by - left_out.keys(), finding)


def _confinement(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> str | None:
    """Return the reason why only the home's own namespace may see the object, if any."""
    if any(member.tuning.overridden for member in home.entries) and _own_overrides(home):
        return "its overrides apply in its own namespace only"
    if (oldest := company.oldest) and _younger(home, oldest):
        return f"ServiceEntry {oldest.key} is {_standing_before(home, oldest)}"
    return next(_objections(home, company, policy, agrees), None) if PUBLIC in home.seen_by else None


def _objections(
    home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]
) -> Iterator[str]:
    """Yield the reasons why some namespace does not agree to the object of a public entry."""
    if silent := company.silent:
        yield f"ServiceEntry {silent.key} is also for the host, and nothing is emitted for it: {silent.reason}"
    if wild := company.others.wild:
        yield f"ServiceEntry {wild.key} has a wildcard that covers the host, or a host that this one covers"
    if differing := _differing(home, company):
        yield f"ServiceEntry {differing[1].key} declares port {differing[0]} of the host with another protocol"
    if (lacking := company.others.without_port_80) and _serves_port_80(home):
        yield f"namespace {lacking} has an entry of its own for the host, without port {HTTP_PORT}"
    for path, _, settings in policy.layers():
        if setting := _dissent(settings, home, agrees) or _names_some(settings, home.host):
            yield f"the policy does not have the same settings everywhere ({path}{setting})"
    for claim in company.claims:
        if claim.visible_beyond(home.namespace):
            yield f"{claim.kind} {claim.key} routes the host in other namespaces"


def _younger(home: Home, oldest: EntryRef) -> bool:
    """Say whether a public entry of another namespace is older than all public entries of the home."""
    return not any(PUBLIC in member.seen_by and age(member.entry) < oldest.age for member in home.entries)


def _differing(home: Home, company: Company) -> tuple[int, EntryRef] | None:
    """Return an HTTP port of the home that another entry declares with a different protocol, and that entry.

    A sidecar that sees both may use the protocol of that entry and the routes of the home.
    """
    protocols = company.others.protocols
    for number, protocol in _http_ports(home) if protocols else ():
        for other, entry in protocols.get(number, {}).items():
            if other != protocol:
                return number, entry
    return None


def _http_ports(home: Home) -> Iterator[tuple[int, str]]:
    return ((port.number, port.protocol) for member in home.entries for port in member.entry.ports if port.http)


def _standing_before(home: Home, oldest: EntryRef) -> str:
    """Return the reason why an entry of another namespace comes before those of the home: its age, or its name."""
    created = {member.entry.created for member in home.entries if PUBLIC in member.seen_by}
    named = oldest.created in created
    return f"the {'first' if named else 'oldest'} public one for the host{' by name' if named else ''}"


def _serves_port_80(home: Home) -> bool:
    return any(port.http and port.number == HTTP_PORT for member in home.entries for port in member.entry.ports)


def _own_overrides(home: Home) -> bool:
    return home.settings.virtual_service.overrides.reach is Reach.NAMESPACE


def _left_out(home: Home, company: Company, agrees: Callable[[Settings], object]) -> dict[str, str]:
    """Return the namespaces in exportTo that do not agree, each with the reason."""
    named = home.seen_by - {home.namespace}
    found = {name: f"sees {route.kind} {route.key}, which routes the host" for name, route in _claimed(named, company)}
    ports = dict(_http_ports(home))
    for other in company.others.same:
        if any(port.protocol != ports.get(port.number, port.protocol) for port in other.entry.ports):
            found.update(dict.fromkeys(meet(named, other.seen_by), "sees another protocol for a port of the host"))
        if age(other.entry) < age(home.owner.entry):
            same = other.entry.created == home.owner.entry.created
            why = "sees an entry for the host that is first by name" if same else "sees an older entry for the host"
            found.update(dict.fromkeys(meet(named, other.seen_by), why))
    for name in (*(other.key.namespace for other in company.others.same), *company.others.meeting):
        if name in named:
            found[name] = "has an entry of its own for the host"
    naming = next(other for other in home.entries if PUBLIC not in other.seen_by)
    for audience in naming.audiences:
        found.update(
            {name: f"does not agree ({why})" for name, why in _dissenting(audience, home, agrees) if name in named}
        )
    return found


def _dissenting(audience: Audience, home: Home, agrees: Callable[[Settings], object]) -> Iterable[tuple[str, str]]:
    """Yield the namespaces of an audience that do not agree, each with the setting."""
    if why := _dissent(audience.settings, home, agrees):
        return dict.fromkeys(audience.names, why).items()
    exempt = {
        name: "exemptions.temporary"
        for item, names in audience.exempt
        if matches(home.host, item.hosts)
        for name in names
    }
    return (exempt | dict(audience.unwilling)).items()


def _claimed(named: frozenset[str], company: Company) -> Iterator[tuple[str, Observed]]:
    """Yield the namespaces that see an object of others; the first object comes last, so that it wins."""
    for claim in reversed(company.claims):
        seen = named if claim.public else named & {*claim.export_to}
        yield from (
            (name, claim) for name in {*seen, *(named & {claim.key.namespace} if OWN in claim.export_to else ())}
        )


def _dissent(settings: Settings, home: Home, agrees: Callable[[Settings], object]) -> str | None:
    """Return the setting by which all its namespaces do not agree to the object of a home."""
    if settings.mode is not Mode.ENFORCE:
        return f"mode: {settings.mode.value}"
    if matches(home.host, settings.exemptions.hosts):
        return "exemptions.hosts"
    return None if settings is home.settings or agrees(settings) == agrees(home.settings) else "other settings"


def _names_some(settings: Settings, host: str) -> str | None:
    """Return the setting that excludes some namespaces by name from the objects of others."""
    if settings.scope.excluded_namespaces:
        return "scope.excludedNamespaces"
    if settings.exemptions.namespaces:
        return "exemptions.namespaces"
    exempt = any(matches(host, item.hosts) for item in settings.exemptions.temporary)
    return "exemptions.temporary" if exempt else None


def routing_of(settings: Settings) -> VirtualService:
    """Return the settings of VirtualServices without overrides."""
    return replace(settings.virtual_service, overrides=Overrides(), reach=Reach.ENTRY, yield_to=())


def _confined(home: Home, why: str | None = None) -> Visibility:
    if home.seen_by == {home.namespace}:
        return _exported(home, home.seen_by)
    finding = home.confined(f"only namespace {home.namespace} sees it: {why}") if why else None
    return _exported(home, meet(home.seen_by, frozenset({home.namespace})), finding)


def _exported(home: Home, seen: frozenset[str], finding: Finding | None = None) -> Visibility:
    """Return exportTo; in the owner's spelling, if that has the same meaning."""
    if not seen:
        return Visibility(None, finding)
    if seen == home.owner.seen_by:
        return Visibility(_written(home.owner.entry), finding)
    return Visibility(tuple(sorted(OWN if name == home.namespace else name for name in seen)), finding)


def _written(owner: ServiceEntry) -> tuple[str, ...]:
    """Return the owner's exportTo, as far as Istio accepts it on a VirtualService: each namespace once."""
    if PUBLIC in owner.export_to:
        return (PUBLIC,)
    return tuple(dict.fromkeys(OWN if name == owner.key.namespace else name for name in owner.export_to))
