"""The verdict on a whole set of manifests at once: a repository, or a cluster."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import JSON, Fields, Key, ServiceEntry, is_http_route, is_istio, is_service_entry
from app.core.routes.observed import KINDS, Observed
from app.core.routes.overlap import overlap_findings, overlaps
from app.core.routes.plan import Conflict, desired
from app.core.routes.virtual_service import Emitted
from app.core.rules.catalogue import REPEATED_ENTRY
from app.core.rules.findings import Finding, Severity
from app.core.rules.patch import apply_patch
from app.core.rules.siblings import Member, judged
from app.core.rules.verdict import Verdict, review

T = TypeVar("T")
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Sourced:
    """A manifest, and where it was read: the name of a file or another place, a document of it, and an item of a List.

    Documents and items are counted from 0; `item` is None where the document is the manifest itself. `cluster` names
    the cluster that the manifest belongs to.
    """

    source: str
    manifest: JSON
    document: int = 0
    item: int | None = None
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file, or the rest of one, that could not be read, and why; `line` is 0 where that says nothing."""

    source: str
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """What has to be rendered before it can be reviewed, and how; otherwise as Unreadable."""

    source: str
    reason: str
    line: int = 0


Unreviewed: TypeAlias = Unreadable | Skipped


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One ServiceEntry, where it stands, what was found, and what would be emitted for it."""

    origin: Sourced
    entry: ServiceEntry
    verdict: Verdict
    shared: tuple[Finding, ...] = ()
    emitted: tuple[Emitted, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    lacking: tuple[Finding, ...] = ()
    """What a cluster does not have, or not as it should, of an entry that needs no change itself."""

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
        """The manifests to emit. An entry that names no namespace gives them none: they then follow it anywhere."""
        manifests = (one.manifest for one in self.emitted)
        if Fields(self.manifest, "").child("metadata").text("namespace"):
            return tuple(manifests)
        return tuple(one | {"metadata": _without(one["metadata"], "namespace")} for one in manifests)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that there is to say of the entry."""
        conflicts = (conflict.finding for conflict in self.conflicts)
        return (*self.verdict.findings, *self.shared, *conflicts, *self.lacking)


def survey(
    documents: Iterable[Sourced], policy: GuardPolicy, namespace: str = DEFAULT_NAMESPACE
) -> tuple[Reviewed, ...]:
    """Review every ServiceEntry among the documents, each in the company of the others in its cluster.

    `namespace` is that of manifests that name none.
    """
    documents = tuple(documents)
    clusters = defaultdict[str, list[Sourced]](list)
    for one in documents:
        clusters[one.cluster].append(one)
    reviewed = (one for cluster in clusters.values() for one in _cluster(cluster, policy, namespace))
    found = {id(one.origin): one for one in reviewed}
    return tuple(found[id(one)] for one in documents if id(one) in found)


def judge(
    document: Sourced, policy: GuardPolicy, namespace: str = DEFAULT_NAMESPACE, written: str | None = None
) -> Reviewed:
    """Review one manifest by itself; `namespace` is its own where it names none.

    `written` is the day on which it is written; None: it is stored, and says so itself.
    """
    entry = ServiceEntry.parse(document.manifest, namespace, written)
    return Reviewed(document, entry, review(entry, policy))


def _cluster(documents: Sequence[Sourced], policy: GuardPolicy, namespace: str) -> Iterator[Reviewed]:
    """Review the entries of one cluster.

    In a cluster a name exists once. Where several manifests have the same, they are likely meant for several clusters:
    the second of each name is reviewed together with the other second ones, and so on.
    """
    seen = Counter[Key]()
    rounds = defaultdict[int, list[Reviewed]](list)
    for document in documents:
        if is_service_entry(document.manifest):
            one = judge(document, policy, namespace, policy.today)
            rounds[seen[one.entry.key]].append(one)
            seen[one.entry.key] += 1
    observed = tuple(_observed(documents, namespace))
    for number, reviewed in rounds.items():
        for one in _together(reviewed, observed, policy):
            yield replace(one, shared=(*_repeated(one), *one.shared)) if number else one


def _repeated(one: Reviewed) -> tuple[Finding, ...]:
    """Say that an entry repeats the name of another; a name that the API server generates is not repeated."""
    if not Fields(one.manifest, "").child("metadata").text("name"):
        return ()
    message = "another manifest in this cluster has the same namespace and name"
    other = ("ServiceEntry", one.entry.key)
    return (Finding(REPEATED_ENTRY, Severity.WARNING, "metadata.name", message, other),)


def _together(alone: Sequence[Reviewed], observed: Sequence[Observed], policy: GuardPolicy) -> Iterator[Reviewed]:
    """Add to each entry what only the company of the others shows."""
    verdicts = judged(
        {number: Member.written(one.entry, one.verdict, policy) for number, one in enumerate(alone)}, policy
    )
    reviewed = [replace(one, verdict=verdicts[number]) for number, one in enumerate(alone)]
    stored = [one.repaired if one.verdict.allowed else _refused(one.entry) for one in reviewed]
    plan = desired(stored, policy, observed)
    emitted = _by_owner((one, one) for one in plan.objects)
    contested = _by_owner((conflict.emitted, conflict) for conflict in plan.conflicts)
    overlapping = overlaps(one.entry for one in reviewed)
    for one, entry in zip(reviewed, stored, strict=True):
        yield replace(
            one,
            shared=(*plan.findings.get(one.entry.key, ()), *overlap_findings(one.entry, overlapping, policy)),
            emitted=emitted.get(id(entry), ()),
            conflicts=contested.get(id(entry), ()),
        )


def _refused(entry: ServiceEntry) -> ServiceEntry:
    """Return an entry for which nothing is emitted, though others stand beside it: it may be stored already."""
    return replace(entry, terminating=True)


def _without(values: JSON, name: str) -> JSON:
    return {key: value for key, value in values.items() if key != name}


def _by_owner(pairs: Iterable[tuple[Emitted, T]]) -> dict[int, tuple[T, ...]]:
    """Group by the entry itself, not its key: one repository may hold two entries of one name."""
    groups = defaultdict[int, tuple[T, ...]](tuple)
    for emitted, value in pairs:
        groups[id(emitted.owner)] += (value,)
    return groups


def _observed(documents: Iterable[Sourced], namespace: str) -> Iterator[Observed]:
    for one in documents:
        if is_istio(one.manifest, KINDS) or is_http_route(one.manifest):
            yield Observed.parse(one.manifest, namespace)
