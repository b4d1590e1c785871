"""The verdict on a live cluster, from one pass of list calls: nothing else is asked of the API server."""

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import msgspec

from app.core.insight.calls import Traffic
from app.core.insight.forecast import Forecast, by_change
from app.core.insight.outlook import outlook
from app.core.policy.model import GuardPolicy
from app.core.resources.namespaces import Namespace
from app.core.resources.records import replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.resources.sidecars import Group, Sidecar, group
from app.core.routes.index import Index
from app.core.routes.observed import Observed
from app.core.routes.overlap import Overlaps, overlap_findings, overlaps
from app.core.routes.plan import Plan, changes, desired_at, keys
from app.core.routes.survey import Reviewed, Sourced, judge
from app.core.routes.virtual_service import Emitted
from app.core.routes.waypoints import at_waypoint
from app.core.rules.catalogue import OBJECT_MISSING
from app.core.rules.findings import Finding, Severity
from app.core.rules.siblings import Held, Member, at_odds, held, keep, with_split
from app.core.rules.verdict import Verdict
from app.kube.apply import list_all
from app.kube.client import Access, Client, Object
from app.kube.errors import ApiError, ConfigError, Forbidden, NotFound
from app.kube.resources import EMITTED, HTTP_ROUTES, NAMESPACES, PODS, SERVICE_ENTRIES, SIDECARS, Resource

SOURCE = "cluster"
INJECTED = "sidecar.istio.io/status"
"""The annotation that Istio's injector leaves on a pod."""

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """What is audited: one namespace or all ("") of them, and the entries with certain labels or all."""

    namespace: str = ""
    selector: str = ""


EVERYTHING = Part()


class AuditError(Exception):
    """The cluster cannot be read; the message is one sentence."""


class NotAllowed(AuditError):
    """The credentials do not allow a list."""


class NoSuchResource(AuditError):
    """The cluster does not serve a resource."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(f"the cluster does not know {resource.plural}.{resource.group}: is Istio there?")


class Audit:
    """A cluster as one pass has found it; iterating reviews an entry at a time, in the order of namespace and name.

    Of an object no more is kept than the rules read, and of a ServiceEntry its JSON besides: a cluster holds more than
    fits into memory decoded. An entry that would be refused counts as it is stored, for the cluster has it.
    """

    def __init__(self, client: Client, policy: GuardPolicy, part: Part = EVERYTHING) -> None:
        """Read the cluster, or one of its namespaces. Raises AuditError."""
        self._policy = policy
        self._wanted = _selected(client, part)
        self._index = Index(policy)
        self._documents: list[tuple[bytes, str]] = []
        alone = [self._keep(item) for item in _listed(client, SERVICE_ENTRIES, part)]
        for item in _tolerated(client, NAMESPACES, EVERYTHING, "labels of namespaces are not seen"):
            self._index.put_namespace(item["metadata"]["name"], Namespace.parse(item))
        for each in alone:
            self._index.bindings.put(None, each.entry, each.entry.key)
        members = dict(
            enumerate(replace(member, verdict=self._at_waypoint(member.entry, member.verdict)) for member in alone)
        )
        kept = held(members)
        self._held: dict[Key, Held] = {found.entry.key: found for found in kept.values()}
        self._stored = {member.entry.key: member.entry.resolution for member in members.values()}
        self._odds = {members[number].entry.key: finding for number, finding in at_odds(members, kept).items()}
        self._overlapping: Overlaps = overlaps(member.entry for member in members.values())
        for member in members.values():
            self._index.put_entry(None, self._as_repaired(member))
        for resource in EMITTED.values():
            for item in _listed(client, resource, part):
                self._index.put_object(None, Observed.parse(item))
        for item in _tolerated(client, HTTP_ROUTES, part, "routes on ServiceEntries are not seen"):
            self._index.put_object(None, Observed.parse(item))

    @property
    def hosts(self) -> frozenset[str]:
        """All canonical hosts that an entry names."""
        return frozenset(self._index.entries.hosts())

    @property
    def stored_objects(self) -> Mapping[str, int]:
        """How many objects of the guard there are, by namespace."""
        return self._index.managed_by_namespace()

    def forecasts(self, traffic: Traffic) -> list[Forecast]:
        """Describe the effect of enforcement on the calls of each host, the largest effect first."""
        return by_change(outlook(self._index, traffic))

    def resolutions(self) -> Iterator[tuple[ServiceEntry, ServiceEntry]]:
        """Yield each entry as it is stored, and as it is once it is repaired."""
        for candidate in self._index.entries.candidates():
            yield replace(candidate.entry, resolution=self._stored[candidate.key]), candidate.entry

    def __len__(self) -> int:
        return len(self._documents) if self._wanted is None else len(self._wanted)

    def __iter__(self) -> Iterator[Reviewed]:
        for document, written in self._documents:
            manifest = msgspec.json.decode(document)
            if self._wanted is None or _place(manifest) in self._wanted:
                yield self._in_company(self._judge(manifest, written))

    def _keep(self, manifest: Object) -> Member:
        reviewed = judge(Sourced(SOURCE, manifest), self._policy)
        manifest["metadata"].pop("managedFields", None)
        self._documents.append((msgspec.json.encode(manifest), reviewed.entry.written))
        return Member.stored(reviewed.entry, reviewed.verdict, self._policy)

    def _at_waypoint(self, entry: ServiceEntry, verdict: Verdict) -> Verdict:
        return at_waypoint(entry, verdict, self._index.bindings, self._policy)

    def _as_repaired(self, member: Member) -> ServiceEntry:
        return member.entry if member.entry.key in self._held else replace(member.entry, resolution=member.resolution)

    def _judge(self, manifest: Object, written: str) -> Reviewed:
        reviewed = judge(Sourced(SOURCE, manifest), self._policy, written=written)
        reviewed = replace(reviewed, verdict=self._at_waypoint(reviewed.entry, reviewed.verdict))
        if found := self._held.get(reviewed.entry.key):
            return replace(reviewed, verdict=keep(reviewed.verdict, found, self._policy))
        if odds := self._odds.get(reviewed.entry.key):
            return replace(reviewed, verdict=with_split(reviewed.verdict, odds))
        return reviewed

    def _in_company(self, reviewed: Reviewed) -> Reviewed:
        """Add findings that need all other objects of the cluster."""
        shared = [*overlap_findings(reviewed.entry, self._overlapping, self._policy)]
        if exceeded := self._index.entries.exceeded(reviewed.entry.key):
            shared.append(exceeded.finding)
        todo = []
        for key in sorted(keys(reviewed.entry), key=str):
            neighbours = self._index.neighbours(key)
            plan = desired_at(key, neighbours)
            shared += plan.findings.get(reviewed.entry.key, ())
            todo.append(changes(_owned(plan, reviewed.entry.key), neighbours.observed))
        differing = [pair for each in todo for pair in each.apply]
        return replace(
            reviewed,
            shared=tuple(shared),
            emitted=tuple(emitted for emitted, _ in differing),
            conflicts=tuple(conflict for each in todo for conflict in each.foreign),
            lacking=() if reviewed.verdict.patch else tuple(_lacking(*pair) for pair in differing),
        )


def connect(access: Access) -> Client:
    """Return a client for the cluster that the command line names. Raises AuditError."""
    try:
        return Client.from_access(access, connections=1)
    except ConfigError as error:
        raise AuditError(str(error)) from None


def _place(manifest: Object) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _selected(client: Client, part: Part) -> set[tuple[str, str]] | None:
    """Find the entries that a selector selects; None without one. All others still count for the decisions on these."""
    if not part.selector:
        return None
    return {_place(item) for item in _listed(client, SERVICE_ENTRIES, part, part.selector)}


def proxies(client: Client, part: Part = EVERYTHING) -> tuple[Group, ...]:
    """Count the pods that have a sidecar, by the hosts that their Sidecar resource shows them; raises AuditError."""
    sidecars = [Sidecar.parse(item) for item in _listed(client, SIDECARS, part)]
    named = {name for sidecar in sidecars for name, _ in sidecar.labels}
    return group((pod for item in _listed(client, PODS, part) if (pod := _injected(item, named))), sidecars)


def _injected(pod: Object, named: Collection[str]) -> tuple[str, dict[str, str]] | None:
    """Return the namespace of a pod with a sidecar, and its labels as far as a Sidecar names them."""
    meta = pod["metadata"]
    if INJECTED not in (meta.get("annotations") or {}) or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return None
    labels = meta.get("labels") or {}
    return meta["namespace"], {name: labels[name] for name in named if name in labels}


def _listed(client: Client, resource: Resource, part: Part, selector: str = "") -> Iterator[Object]:
    """Yield all objects of a resource in pages, which the API server keeps consistent with each other."""
    try:
        yield from list_all(client, resource, part.namespace or None, label_selector=selector)
    except NotFound:
        raise NoSuchResource(resource) from None
    except Forbidden as error:
        raise NotAllowed(f"{resource.plural} cannot be listed: {error.message}") from None
    except ApiError as error:
        raise AuditError(f"{resource.plural} cannot be listed: {error.message}") from None


def _owned(plan: Plan, owner: Key) -> Plan:
    return Plan(
        tuple(emitted for emitted in plan.objects if emitted.owner.key == owner),
        tuple(conflict for conflict in plan.conflicts if conflict.emitted.owner.key == owner),
    )


def _tolerated(client: Client, resource: Resource, part: Part, without: str) -> Iterator[Object]:
    """Yield all objects of a resource; none if the cluster does not have it, or listing is forbidden."""
    try:
        yield from _listed(client, resource, part)
    except NoSuchResource:
        return
    except NotAllowed as error:
        log.warning("%s; %s", error, without)


def _lacking(emitted: Emitted, current: Observed | None) -> Finding:
    how = "is not as the guard writes it" if current else "is missing"
    return Finding(OBJECT_MISSING, Severity.WARNING, "spec.hosts", f"{emitted.kind} {emitted.key} {how}")
