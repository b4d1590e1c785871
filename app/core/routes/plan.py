"""The plan: from all ServiceEntries to all objects, and from both to the writes.

`desired` returns the objects that should exist, `changes` compares them with the observed ones. Both are functions of
sets: the order of their input does not matter, and after the changes no further changes follow. Hosts are shared, so
an object is decided for a host and a namespace, from all entries that affect it.
"""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from app.core.policy.model import GuardPolicy, Settings
from app.core.resources.fields import JSON
from app.core.resources.globs import matches
from app.core.resources.hosts import second_name
from app.core.resources.namespaces import Namespace
from app.core.resources.records import Record
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.destination_rule import destination_rule
from app.core.routes.homes import Note, Served, served_at
from app.core.routes.index import Index, Neighbours
from app.core.routes.observed import HTTP_ROUTE, KINDS, ROUTES, Observed
from app.core.routes.reach import Company, Visibility, reach, routing_of
from app.core.routes.virtual_service import Emitted, Place, virtual_service
from app.core.routes.waypoint_reach import AtWaypoints, at_waypoints
from app.core.rules.catalogue import HOST_CONFLICT
from app.core.rules.findings import Finding, Severity, printable, quoted


class Conflict(Record):
    """An object that is not emitted because an object of others has its host or name."""

    emitted: Emitted
    claimant: Observed
    routes: bool = True
    """Whether the other object routes the host; otherwise it only has the name."""

    @property
    def finding(self) -> Finding:
        """The finding for the owner of the ServiceEntry."""
        claimant = f"{self.claimant.kind} {printable(str(self.claimant.key))}"
        routes = "routes" if self.emitted.kind == "VirtualService" else "configures"
        does = (
            f"already {routes} {quoted(self.emitted.host)}"
            if self.routes
            else "has the name that the guard's object would have"
        )
        lacks, instead = _lack(self.emitted, self.claimant) if self.routes else ("", _RENAME)
        message = f"{claimant} {does}, so no {self.emitted.kind} is emitted{lacks}"
        other = (self.claimant.kind, self.claimant.key)
        return Finding(HOST_CONFLICT, Severity.WARNING, "spec.hosts", message, other, instead)


class Plan(Record):
    """The objects that should exist, the conflicts, and the findings of each entry beside all others."""

    objects: tuple[Emitted, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    findings: Mapping[Key, tuple[Finding, ...]] = {}


class Changes(Record):
    """The writes: objects to apply (with the stored one, if any), to delete, and to leave to their owners."""

    apply: tuple[tuple[Emitted, Observed | None], ...] = ()
    delete: tuple[Observed, ...] = ()
    foreign: tuple[Conflict, ...] = ()


def keys(entry: ServiceEntry) -> frozenset[Key]:
    """Return the keys of all objects that an entry may affect; each can be decided alone."""
    names = {host.object_name for host in entry.hosts if host.object_name}
    return frozenset(Key(entry.key.namespace, name) for name in names)


def desired(
    entries: Iterable[ServiceEntry],
    policy: GuardPolicy,
    observed: Iterable[Observed] = (),
    namespaces: Iterable[Namespace] = (),
) -> Plan:
    """Return the plan for a set of entries of any namespaces, given the observed objects."""
    index = Index(policy)
    for namespace in namespaces:
        index.put_namespace(namespace.name, namespace)
    for number, entry in enumerate(entries):
        index.put_entry(None, entry, number)
    for stored in observed:
        index.put_object(None, stored)
    findings = defaultdict[Key, tuple[Finding, ...]](tuple)
    for entry, exceeded in index.entries.limited():
        findings[entry.key] += (exceeded.finding,)
    plans = [desired_at(key, index.neighbours(key)) for key in sorted(index.names(), key=str)]
    for plan in plans:
        for owner, found in plan.findings.items():
            findings[owner] += found
    return Plan(
        tuple(emitted for plan in plans for emitted in plan.objects),
        tuple(conflict for plan in plans for conflict in plan.conflicts),
        dict(findings),
    )


def desired_at(key: Key, neighbours: Neighbours, *, explained: bool = True) -> Plan:
    """Return the plan for one object name, with findings on its entries if `explained`."""
    notes = list[Note]()
    objects, conflicts = list[Emitted](), list[Conflict]()
    for kind in KINDS:
        if served := served_at(key, kind, neighbours, notes):
            visibility = _reach(kind, served, neighbours)
            reached = at_waypoints(kind, served, neighbours, visibility.export_to)
            claimant, emitted = _emit(key, kind, served, neighbours, reached)
            if emitted and claimant:
                routes = claimant.decides(neighbours.host, neighbours.parents)
                conflicts.append(Conflict(emitted, claimant, routes))
            elif emitted and reached.export_to is not None:
                objects.append(emitted)
            notes += served.notes() if explained else ()
            if emitted and visibility.finding and not claimant:
                notes += [(entry.key, visibility.finding) for entry in served.home.entries]
            notes += reached.notes if emitted and not claimant else ()
    return Plan(tuple(objects), tuple(conflicts), _by_entry(notes) if explained else {})


def changes(plan: Plan, observed: Iterable[Observed]) -> Changes:
    """Compare the plan with the observed objects; objects that the guard does not manage are never written."""
    stored = {(found.kind, found.key): found for found in observed if found.managed}
    wanted = sorted(plan.objects, key=lambda emitted: (emitted.kind, str(emitted.key)))
    differing = [
        (emitted, current)
        for emitted in wanted
        if (current := stored.get((emitted.kind, emitted.key))) is None or current.fingerprint != emitted.fingerprint
    ]
    kept = {(emitted.kind, emitted.key) for emitted in wanted}
    delete = sorted(
        (emitted for at, emitted in stored.items() if at not in kept),
        key=lambda emitted: (emitted.kind, str(emitted.key)),
    )
    return Changes(tuple(differing), tuple(delete), plan.conflicts)


def _by_entry(notes: Iterable[Note]) -> Mapping[Key, tuple[Finding, ...]]:
    """Group findings by entry, each once."""
    grouped: dict[Key, dict[Finding, None]] = {}
    for key, finding in notes:
        grouped.setdefault(key, {})[finding] = None
    return {key: tuple(findings) for key, findings in grouped.items()}


def _reach(kind: str, served: Served, neighbours: Neighbours) -> Visibility:
    namespace, host = served.home.namespace, served.home.host
    counting = (
        claim
        for claim in _claims(kind, neighbours)
        if _counts(claim, served.home.settings, namespace) or _same(claim, host)
    )
    claims = sorted(counting, key=lambda claim: str(claim.key))
    company = Company(kind, neighbours.others, tuple(claims) if kind == "VirtualService" else ())
    agrees = routing_of if kind == "VirtualService" else _destination_rule_of
    return reach(served.home, company, neighbours.policy, agrees)


def _destination_rule_of(settings: Settings) -> object:
    return settings.destination_rule


def _claims(kind: str, neighbours: Neighbours) -> Iterator[Observed]:
    """Yield objects of others of which a sidecar would use only one, together with ours."""
    kinds = ROUTES if kind == "VirtualService" else {kind}
    for stored in neighbours.observed:
        if not stored.managed and stored.kind in kinds and stored.decides(neighbours.host, neighbours.parents):
            yield stored


def _counts(claim: Observed, settings: Settings, namespace: str) -> bool:
    """Say whether the guard yields to a claim: always in the same namespace, otherwise as the policy says."""
    return claim.key.namespace == namespace or matches(claim.key.namespace, settings.virtual_service.yield_to)


def _same(claim: Observed, host: str) -> bool:
    return host in claim.claims or bool(claim.parents)


def _emit(
    key: Key, kind: str, served: Served, neighbours: Neighbours, reached: AtWaypoints
) -> tuple[Observed | None, Emitted | None]:
    """Return the emitted object, and the object that it yields to, if any."""
    home = served.home
    stored = {
        each.key.name: each for each in neighbours.observed if each.kind == kind and each.key.namespace == key.namespace
    }
    names = (key.name, second_name(key.name))
    free = next((name for name in names if name not in stored or stored[name].managed), None)
    visible = [each for each in _claims(kind, neighbours) if each.visible(key.namespace)]
    claims = [each for each in visible if _counts(each, home.settings, key.namespace)]
    claimant = min(claims, key=lambda each: str(each.key), default=None if free else stored[key.name])
    place = Place(home.owner.entry, served.host, free or key.name, reached.export_to or (), reached.as_http_route)
    if kind == "VirtualService":
        return claimant, virtual_service(place, served.routed, alone=served.alone)
    return claimant, destination_rule(place, served.declared, home.settings.destination_rule)


def _lack(emitted: Emitted, claimant: Observed) -> tuple[str, str]:
    """Return what is missing in an object that claims the host, and a remedy."""
    if emitted.kind != "VirtualService":
        return "", ""
    if claimant.kind == HTTP_ROUTE:
        return "; it cannot repeat a request whose connection was reset", _REPLACE_HTTP_ROUTE
    legs = claimant.legs_to(emitted.host)
    if not legs:
        return "", ""
    if all(leg.retries for leg in legs):
        return "; it repeats requests whose connection was reset", _NOTHING
    retries = emitted.manifest["spec"]["http"][-1]["retries"]
    patch = [
        {"op": "add", "path": f"/spec/http/{leg.index}/retries", "value": retries} for leg in legs if not leg.retries
    ]
    said = "; its route to the host does not repeat a request whose connection was reset"
    printed = retries["attempts"] and str(claimant.key).isprintable()
    return said, _add_retries(claimant.key, patch) if printed else ""


def _add_retries(key: Key, patch: JSON) -> str:
    namespace, name = map(shlex.quote, (key.namespace, key.name))
    command = f"kubectl -n {namespace} patch virtualservice {name} --type=json"
    return f"Add retries to it: {command} -p {shlex.quote(json.dumps(patch, separators=(',', ':')))}"


_RENAME = "Give the other object another name: then the guard emits its own."
_NOTHING = "Nothing: the host has retries."
_REPLACE_HTTP_ROUTE = (
    "Write a VirtualService with retries in place of the HTTPRoute, or set meshConfig.defaultHttpRetryPolicy: the "
    "retry of an HTTPRoute does not cover resets."
)
