"""From all ServiceEntries to all objects, and from both to what must be written.

`desired` says what should exist, `changes` compares it with what is observed. Both are functions of sets: the order of
their input does not matter, and after the changes are made there are none left. Hosts are shared, so an object is
decided for a host and a namespace, from every entry that has a say in it.
"""

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.core.policy.model import GuardPolicy, Settings
from app.core.resources.globs import matches
from app.core.resources.hosts import second_name
from app.core.resources.service_entry import JSON, Key, ServiceEntry
from app.core.routes.destination_rule import destination_rule
from app.core.routes.homes import Note, Served, served_at
from app.core.routes.index import Index, Neighbours
from app.core.routes.observed import HTTP_ROUTE, KINDS, ROUTES, Observed
from app.core.routes.reach import Company, Decision, reach, routing_of
from app.core.routes.virtual_service import Emitted, Place, virtual_service
from app.core.rules.catalogue import HOST_CONFLICT
from app.core.rules.findings import Finding, Severity, printable, quoted


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object that yields to one that is not ours."""

    emitted: Emitted
    claimant: Observed
    routes: bool = True
    """Whether it routes the host; otherwise it only has the name."""

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


@dataclass(frozen=True, slots=True)
class Plan:
    """The objects that should exist, the conflicts, and the findings of each entry beside all others."""

    objects: tuple[Emitted, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    findings: Mapping[Key, tuple[Finding, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """The writes: objects to apply (with the stored one, if any), to delete, and to leave to their owners."""

    apply: tuple[tuple[Emitted, Observed | None], ...] = ()
    delete: tuple[Observed, ...] = ()
    foreign: tuple[Conflict, ...] = ()


def keys(entry: ServiceEntry) -> frozenset[Key]:
    """Return the keys of all objects that an entry may have a say in; each can be decided by itself."""
    names = {host.object_name for host in entry.hosts if host.object_name}
    return frozenset(Key(entry.key.namespace, name) for name in names)


def desired(entries: Iterable[ServiceEntry], policy: GuardPolicy, observed: Iterable[Observed] = ()) -> Plan:
    """Return the plan for a set of entries of any namespaces, given the observed objects."""
    index = Index(policy)
    for number, entry in enumerate(entries):
        index.put_entry(None, entry, number)
    for one in observed:
        index.put_object(None, one)
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
            decision = _reach(kind, served, neighbours)
            claimant, emitted = _emit(key, kind, served, neighbours, decision)
            if emitted and claimant:
                routes = claimant.decides(neighbours.host, neighbours.parents)
                conflicts.append(Conflict(emitted, claimant, routes))
            elif emitted and decision.export_to is not None:
                objects.append(emitted)
            notes += served.notes() if explained else ()
            if emitted and decision.finding and not claimant:
                notes += [(entry.key, decision.finding) for entry in served.home.entries]
    return Plan(tuple(objects), tuple(conflicts), _by_entry(notes) if explained else {})


def changes(plan: Plan, observed: Iterable[Observed]) -> Changes:
    """Compare the plan with the observed objects; objects that the guard does not manage are never written."""
    stored = {(one.kind, one.key): one for one in observed if one.managed}
    wanted = sorted(plan.objects, key=lambda one: (one.kind, str(one.key)))
    differing = [
        (one, current)
        for one in wanted
        if (current := stored.get((one.kind, one.key))) is None or current.fingerprint != one.fingerprint
    ]
    kept = {(one.kind, one.key) for one in wanted}
    delete = sorted((one for at, one in stored.items() if at not in kept), key=lambda one: (one.kind, str(one.key)))
    return Changes(tuple(differing), tuple(delete), plan.conflicts)


def _by_entry(notes: Iterable[Note]) -> Mapping[Key, tuple[Finding, ...]]:
    """Group findings by entry, each once."""
    grouped: dict[Key, dict[Finding, None]] = {}
    for key, finding in notes:
        grouped.setdefault(key, {})[finding] = None
    return {key: tuple(findings) for key, findings in grouped.items()}


def _reach(kind: str, served: Served, neighbours: Neighbours) -> Decision:
    namespace, host = served.home.namespace, served.home.host
    counting = (
        one for one in _claims(kind, neighbours) if _counts(one, served.home.settings, namespace) or _same(one, host)
    )
    claims = sorted(counting, key=lambda one: str(one.key))
    company = Company(kind, neighbours.others, tuple(claims) if kind == "VirtualService" else ())
    agrees = routing_of if kind == "VirtualService" else _destination_rule_of
    return reach(served.home, company, neighbours.policy, agrees)


def _destination_rule_of(settings: Settings) -> object:
    return settings.destination_rule


def _claims(kind: str, neighbours: Neighbours) -> Iterator[Observed]:
    """Yield others' objects of which a sidecar would use only one beside ours."""
    kinds = ROUTES if kind == "VirtualService" else {kind}
    for one in neighbours.observed:
        if not one.managed and one.kind in kinds and one.decides(neighbours.host, neighbours.parents):
            yield one


def _counts(claim: Observed, settings: Settings, namespace: str) -> bool:
    """Say whether the guard yields to a claim: to each of the namespace, and to those of others as the policy says."""
    return claim.key.namespace == namespace or matches(claim.key.namespace, settings.virtual_service.yield_to)


def _same(claim: Observed, host: str) -> bool:
    return host in claim.claims or bool(claim.parents)


def _emit(
    key: Key, kind: str, served: Served, neighbours: Neighbours, decision: Decision
) -> tuple[Observed | None, Emitted | None]:
    """Return what is emitted, and the object that it yields to, if there is one."""
    home = served.home
    stored = {
        one.key.name: one for one in neighbours.observed if one.kind == kind and one.key.namespace == key.namespace
    }
    names = (key.name, second_name(key.name))
    free = next((name for name in names if name not in stored or stored[name].managed), None)
    visible = [one for one in _claims(kind, neighbours) if one.visible(key.namespace)]
    claims = [one for one in visible if _counts(one, home.settings, key.namespace)]
    claimant = min(claims, key=lambda one: str(one.key), default=None if free else stored[key.name])
    place = Place(home.owner.entry, served.host, free or key.name, decision.export_to or ())
    if kind == "VirtualService":
        return claimant, virtual_service(place, served.routed, alone=served.alone)
    return claimant, destination_rule(place, served.declared, home.settings.destination_rule)


def _lack(emitted: Emitted, claimant: Observed) -> tuple[str, str]:
    """Say what an object lacks that routes the host in place of ours, and what to do about it."""
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
