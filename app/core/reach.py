"""Which namespaces see what is emitted for a host: only those that agree to it.

For one sidecar, istiod looks at VirtualServices in this order, each group oldest first: private ones of its own
namespace; those whose exportTo names the namespace; HTTPRoutes of the namespace; public ones. So a private one wins at
home, and a public one decides in every namespace that has none of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from app.core.catalogue import REACH_CONFINED
from app.core.emission import Overrides, Reach, VirtualService
from app.core.findings import Finding, Severity, quoted
from app.core.globs import matches
from app.core.observed import Observed
from app.core.policy import GuardPolicy, Mode, Settings
from app.core.resources import ServiceEntry
from app.core.tenancy import Temporary
from app.core.tuning import Tuning

PUBLIC, OWN = "*", "."
HTTP_PORT = 80
OTHER_HOST = "its host is another one, which meets the host by a wildcard"
"""Why nothing is emitted for a host of an entry that does not name it."""


@dataclass(frozen=True, slots=True)
class Home:
    """The entries of one namespace for which objects are emitted for a host, oldest first, and how each is tuned."""

    namespace: str
    host: str
    settings: Settings
    entries: tuple[ServiceEntry, ...]
    tunings: tuple[Tuning, ...]

    @property
    def owner(self) -> ServiceEntry:
        """The oldest entry."""
        return self.entries[0]

    @property
    def seen_by(self) -> frozenset[str]:
        """The namespaces that see all of the entries; `*` for each."""
        return seen_together(self.entries)


@dataclass(frozen=True, slots=True)
class Company:
    """What stands beside a home: entries of other namespaces that name the host or meet it, and others' routes."""

    same: tuple[ServiceEntry, ...]
    """Entries of other namespaces that name exactly the host."""
    related: tuple[ServiceEntry, ...]
    """Entries of other namespaces with a wildcard that meets the host."""
    claims: tuple[Observed, ...]
    silent: Callable[[ServiceEntry], str | None]
    """Says why nothing is emitted for an entry, if so."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The namespaces that see what is emitted (`exportTo` as it is written), and why they are fewer than the entry's.

    None: there is no namespace that may see it.
    """

    export_to: tuple[str, ...] | None
    finding: Finding | None = None


def seen_by(entry: ServiceEntry) -> frozenset[str]:
    """Return the namespaces that see an entry, with their names; `*` for each."""
    if not entry.export_to or PUBLIC in entry.export_to:
        return frozenset({PUBLIC})
    return frozenset(entry.key.namespace if name == OWN else name for name in entry.export_to)


def seen_together(entries: Iterable[ServiceEntry]) -> frozenset[str]:
    """Return the namespaces that see all of the entries."""
    seen = frozenset({PUBLIC})
    for entry in entries:
        seen = meet(seen, seen_by(entry))
    return seen


def meet(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """Return the namespaces that two sets have in common."""
    if PUBLIC in one or PUBLIC in other:
        return other if PUBLIC in one else one
    return one & other


def reach(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> Decision:
    """Decide who sees what is emitted at a home; `agrees` picks the settings that must be those of the home."""
    if home.settings.virtual_service.reach is Reach.NAMESPACE:
        return _confined(home)
    if why := _confinement(home, company, policy, agrees):
        return _confined(home, why)
    if PUBLIC in home.seen_by:
        return Decision(_written(home.owner))
    seen, left_out = _agreeing(home, company, policy, agrees)
    if not left_out:
        return _exported(home, seen)
    name, why = left_out[0]
    return _exported(home, seen, _finding(home, f"namespace {name} {why}, so it does not see what is emitted"))


def _confinement(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> str | None:
    """Say why only the home's own namespace may see what is emitted there, if so."""
    if any(tuning.overridden for tuning in home.tunings) and _own_overrides(home):
        return "its annotations count in its own namespace only"
    if oldest := _older_public(home, company):
        return f"ServiceEntry {oldest.key} is the oldest public one for the host"
    return _objection(home, company, policy, agrees) if PUBLIC in home.seen_by else None


def _objection(home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]) -> str | None:
    """Say who does not agree to what is emitted for a public entry, if anyone."""
    for other in (*company.same, *company.related):
        if why := company.silent(other):
            if why is OTHER_HOST:
                return f"ServiceEntry {other.key} has a wildcard that covers the host, or a host that this one covers"
            return f"ServiceEntry {other.key} is for the host as well, and nothing is emitted for it: {why}"
    if lacking := _without_port_80(home, company):
        return f"namespace {lacking} has an entry of its own for the host, without port {HTTP_PORT}"
    for path, _, settings in policy.layers():
        if why := _dissent(settings, home, agrees):
            return f"the policy does not emit the same everywhere ({path}{why})"
    for claim in company.claims:
        if claim.visible_beyond(home.namespace):
            return f"{claim.kind} {claim.key} routes the host in other namespaces"
    return None


def _without_port_80(home: Home, company: Company) -> str | None:
    """Return a namespace to which a route for port 80 would be new, though its own entry has no such port.

    istiod writes the routes of port 80 for every host that a VirtualService names, known on that port or not.
    """
    if not any(port.http and port.number == HTTP_PORT for one in home.entries for port in one.ports):
        return None
    ports = defaultdict[str, set[int]](set)
    for one in company.same:
        ports[one.key.namespace].update(port.number for port in one.ports)
    return next((namespace for namespace, numbers in sorted(ports.items()) if HTTP_PORT not in numbers), None)


def _older_public(home: Home, company: Company) -> ServiceEntry | None:
    """Return the oldest public entry of another namespace for which objects are emitted, if home has no older one."""
    own = min((age(one) for one in home.entries if PUBLIC in seen_by(one)), default=None)
    older = (one for one in company.same if PUBLIC in seen_by(one) and (own is None or age(one) < own))
    return next((one for one in sorted(older, key=age) if not company.silent(one)), None)


def _own_overrides(home: Home) -> bool:
    return home.settings.virtual_service.overrides.reach is Reach.NAMESPACE


def _agreeing(
    home: Home, company: Company, policy: GuardPolicy, agrees: Callable[[Settings], object]
) -> tuple[frozenset[str], list[tuple[str, str]]]:
    """Split the namespaces that an entry names into those that agree, and the others with the reason of each."""
    left_out = list[tuple[str, str]]()
    for name in sorted(home.seen_by - {home.namespace}):
        settings = policy.settings(name)
        if why := _dissent(settings, home, agrees, name):
            left_out.append((name, f"does not agree ({why})"))
        elif any(one.key.namespace == name for one in (*company.same, *company.related)):
            left_out.append((name, "has an entry of its own for the host"))
        elif any(name in seen_by(one) and age(one) < age(home.owner) for one in company.same):
            left_out.append((name, "sees an older entry for the host"))
        elif claim := next((one for one in company.claims if one.visible(name)), None):
            left_out.append((name, f"sees {claim.kind} {claim.key}, which routes the host"))
    return home.seen_by - {name for name, _ in left_out}, left_out


def _dissent(
    settings: Settings, home: Home, agrees: Callable[[Settings], object], namespace: str | None = None
) -> str | None:
    """Say which setting keeps a namespace, or some namespace where none is named, from what is emitted at a home."""
    excluded, exempt = settings.scope.excluded_namespaces, settings.exemptions.namespaces
    if settings.mode is not Mode.ENFORCE:
        return f"mode: {settings.mode.value}"
    if excluded and (namespace is None or matches(namespace, excluded)):
        return "scope.excludedNamespaces"
    if exempt and (namespace is None or matches(namespace, exempt)):
        return "exemptions.namespaces"
    if matches(home.host, settings.exemptions.hosts):
        return "exemptions.hosts"
    if any(_exempts(one, home.host, namespace) for one in settings.exemptions.temporary):
        return "exemptions.temporary"
    return None if settings is home.settings or agrees(settings) == agrees(home.settings) else "other settings"


def _exempts(one: Temporary, host: str, namespace: str | None) -> bool:
    """Say whether an exemption is for a host in a namespace; one that has ended is too: what runs stays as it is."""
    return matches(host, one.hosts) and (namespace is None or matches(namespace, one.namespaces))


def routing_of(settings: Settings) -> VirtualService:
    """Return what VirtualServices are made from where no annotation counts."""
    return replace(settings.virtual_service, overrides=Overrides(), reach=Reach.ENTRY, yield_to=())


def age(entry: ServiceEntry) -> tuple[bool, str, str, str]:
    """Order as istiod does: oldest first, then by namespace; manifests that were never stored come last."""
    return not entry.created, entry.created, entry.key.namespace, entry.key.name


def _confined(home: Home, why: str | None = None) -> Decision:
    if home.seen_by == {home.namespace}:
        return _exported(home, home.seen_by)
    finding = _finding(home, f"only namespace {home.namespace} sees it: {why}") if why else None
    return _exported(home, meet(home.seen_by, frozenset({home.namespace})), finding)


def _exported(home: Home, seen: frozenset[str], finding: Finding | None = None) -> Decision:
    """Write exportTo; as the owner has it, if that says the same."""
    if not seen:
        return Decision(None, finding)
    if seen == seen_by(home.owner):
        return Decision(_written(home.owner), finding)
    return Decision(tuple(sorted(OWN if name == home.namespace else name for name in seen)), finding)


def _written(owner: ServiceEntry) -> tuple[str, ...]:
    """Write exportTo as the owner has it, as far as Istio takes it on a VirtualService: each namespace once."""
    if PUBLIC in owner.export_to:
        return (PUBLIC,)
    return tuple(dict.fromkeys(OWN if name == owner.key.namespace else name for name in owner.export_to))


def _finding(home: Home, message: str) -> Finding:
    said = f"what is emitted for {quoted(home.host)} is confined: {message}"
    return Finding(REACH_CONFINED, Severity.INFO, "spec.exportTo", said)
