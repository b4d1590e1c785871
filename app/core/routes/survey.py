"""The review of a whole set of manifests: a repository or a cluster."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from app.core.policy.model import GuardPolicy
from app.core.resources.fields import JSON, Fields
from app.core.resources.kinds import is_http_route, is_istio, is_service_entry
from app.core.resources.namespaces import Namespace, is_namespace
from app.core.resources.records import Record, replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.bindings import Bindings
from app.core.routes.observed import KINDS, Observed
from app.core.routes.overlap import overlap_findings, overlaps
from app.core.routes.plan import Conflict, desired
from app.core.routes.virtual_service import Emitted
from app.core.routes.waypoints import at_waypoint
from app.core.rules.catalogue import REPEATED_ENTRY
from app.core.rules.findings import Finding, Severity
from app.core.rules.patch import apply_patch
from app.core.rules.siblings import Member, judged
from app.core.rules.verdict import Verdict, review

T = TypeVar("T")
DEFAULT_NAMESPACE = "default"


class Sourced(Record):
    """A manifest and its source: the name of a file or another place, the document, and the item of a List.

    Documents and items are counted from 0; `item` is None if the document is the manifest itself. `cluster` names the
    cluster that the manifest belongs to.
    """

    source: str
    manifest: JSON
    document: int = 0
    item: int | None = None
    cluster: str = ""


class Unreadable(Record):
    """A file, or the rest of one, that could not be read, and the reason; `line` is 0 if unknown."""

    source: str
    reason: str
    line: int = 0


class Skipped(Record):
    """A manifest that must be rendered before it can be reviewed, and the command; fields as in Unreadable."""

    source: str
    reason: str
    line: int = 0


Unreviewed: TypeAlias = Unreadable | Skipped


class Reviewed(Record):
    """One ServiceEntry with its source, its findings, and the objects that would be emitted for it."""

    origin: Sourced
    entry: ServiceEntry
    verdict: Verdict
    shared: tuple[Finding, ...] = ()
    emitted: tuple[Emitted, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    lacking: tuple[Finding, ...] = ()
    """Findings on missing or edited objects of an entry that needs no change itself."""

    @property
    def source(self) -> str:
        """The name of the place it was read from."""
        return self.origin.source

    @property
    def manifest(self) -> JSON:
        """The manifest as it was written."""
        return self.origin.manifest

    @property
    def stored(self) -> JSON:
        """The manifest as the cluster would store it."""
        return apply_patch(self.manifest, self.verdict.patch) if self.verdict.patch else self.manifest

    @property
    def repaired(self) -> ServiceEntry:
        """The entry with what the verdict changes."""
        return replace(self.entry, resolution=self.verdict.patch[0]["value"]) if self.verdict.patch else self.entry

    @property
    def outcome(self) -> str:
        """One word: refused, changed, incomplete or allowed."""
        if not self.verdict.allowed:
            return "refused"
        if self.verdict.patch:
            return "changed"
        return "incomplete" if self.lacking else "allowed"

    @property
    def objects(self) -> tuple[JSON, ...]:
        """The manifests to emit. Without a namespace of the entry, they have none either, and follow it anywhere."""
        manifests = (emitted.manifest for emitted in self.emitted)
        if Fields(self.manifest, "").child("metadata").text("namespace"):
            return tuple(manifests)
        return tuple(manifest | {"metadata": _without(manifest["metadata"], "namespace")} for manifest in manifests)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings on the entry."""
        conflicts = (conflict.finding for conflict in self.conflicts)
        return (*self.verdict.findings, *self.shared, *conflicts, *self.lacking)


class Beside(Record):
    """The other objects in the input: those that route hosts, and Namespaces."""

    observed: tuple[Observed, ...]
    namespaces: tuple[Namespace, ...]


def survey(
    documents: Iterable[Sourced], policy: GuardPolicy, namespace: str = DEFAULT_NAMESPACE
) -> tuple[Reviewed, ...]:
    """Review every ServiceEntry among the documents, each together with the others in its cluster.

    `namespace` is the namespace of manifests that have none.
    """
    documents = tuple(documents)
    clusters = defaultdict[str, list[Sourced]](list)
    for document in documents:
        clusters[document.cluster].append(document)
    reviewed = (
        reviewed_entry for cluster in clusters.values() for reviewed_entry in _cluster(cluster, policy, namespace)
    )
    found = {id(reviewed_entry.origin): reviewed_entry for reviewed_entry in reviewed}
    return tuple(found[id(document)] for document in documents if id(document) in found)


def judge(
    document: Sourced, policy: GuardPolicy, namespace: str = DEFAULT_NAMESPACE, written: str | None = None
) -> Reviewed:
    """Review one manifest alone; `namespace` is used if it has none.

    `written` is the day on which it is written; None: it is stored, and has the day itself.
    """
    entry = ServiceEntry.parse(document.manifest, namespace, written)
    return Reviewed(document, entry, review(entry, policy))


def _cluster(documents: Sequence[Sourced], policy: GuardPolicy, namespace: str) -> Iterator[Reviewed]:
    """Review the entries of one cluster.

    In a cluster a name exists once. If several manifests have the same name, they are probably meant for several
    clusters: the second of each name is reviewed together with the other second ones, and so on.
    """
    seen = Counter[Key]()
    rounds = defaultdict[int, list[Reviewed]](list)
    for document in documents:
        if is_service_entry(document.manifest):
            result = judge(document, policy, namespace, policy.today)
            rounds[seen[result.entry.key]].append(result)
            seen[result.entry.key] += 1
    beside = Beside(
        tuple(_observed(documents, namespace)),
        tuple(Namespace.parse(document.manifest) for document in documents if is_namespace(document.manifest)),
    )
    for number, reviewed in rounds.items():
        for result in _together(reviewed, beside, policy):
            yield replace(result, shared=(*_repeated(result), *result.shared)) if number else result


def _repeated(reviewed: Reviewed) -> tuple[Finding, ...]:
    """Return the finding on a repeated name; generated names cannot repeat."""
    if not Fields(reviewed.manifest, "").child("metadata").text("name"):
        return ()
    message = "another manifest in this cluster has the same namespace and name"
    other = ("ServiceEntry", reviewed.entry.key)
    return (Finding(REPEATED_ENTRY, Severity.WARNING, "metadata.name", message, other),)


def _together(alone: Sequence[Reviewed], beside: Beside, policy: GuardPolicy) -> Iterator[Reviewed]:
    """Add the findings and objects of each entry that depend on the others."""
    bindings = _bindings(alone, beside.namespaces)
    bound = (at_waypoint(result.entry, result.verdict, bindings, policy) for result in alone)
    members = {
        number: Member.written(result.entry, verdict, policy)
        for number, (result, verdict) in enumerate(zip(alone, bound, strict=True))
    }
    verdicts = judged(members, policy)
    reviewed = [Reviewed(result.origin, result.entry, verdicts[number]) for number, result in enumerate(alone)]
    stored = [result.repaired if result.verdict.allowed else _refused(result.entry) for result in reviewed]
    plan = desired(stored, policy, beside.observed, beside.namespaces)
    emitted = _by_owner((emitted_object, emitted_object) for emitted_object in plan.objects)
    contested = _by_owner((conflict.emitted, conflict) for conflict in plan.conflicts)
    overlapping = overlaps(result.entry for result in reviewed)
    for result, entry in zip(reviewed, stored, strict=True):
        yield Reviewed(
            result.origin,
            result.entry,
            result.verdict,
            shared=(*plan.findings.get(result.entry.key, ()), *overlap_findings(result.entry, overlapping, policy)),
            emitted=emitted.get(id(entry), ()),
            conflicts=contested.get(id(entry), ()),
        )


def _bindings(alone: Iterable[Reviewed], namespaces: Iterable[Namespace]) -> Bindings:
    bindings = Bindings()
    for namespace in namespaces:
        bindings.put_namespace(namespace.name, namespace)
    for number, each in enumerate(alone):
        bindings.put(None, each.entry, number)
    return bindings


def _refused(entry: ServiceEntry) -> ServiceEntry:
    """Return a refused entry as one without emitted objects: it still counts for others, because it may be stored."""
    return replace(entry, terminating=True)


def _without(values: JSON, name: str) -> JSON:
    return {key: value for key, value in values.items() if key != name}


def _by_owner(pairs: Iterable[tuple[Emitted, T]]) -> dict[int, tuple[T, ...]]:
    """Group by the entry itself, not by its key: a repository may contain two entries of one name."""
    groups = defaultdict[int, tuple[T, ...]](tuple)
    for emitted, value in pairs:
        groups[id(emitted.owner)] += (value,)
    return groups


def _observed(documents: Iterable[Sourced], namespace: str) -> Iterator[Observed]:
    for document in documents:
        if is_istio(document.manifest, KINDS) or is_http_route(document.manifest):
            yield Observed.parse(document.manifest, namespace)
