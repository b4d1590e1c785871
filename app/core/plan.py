"""From all ServiceEntries to all objects, and from both to what must be written.

`desired` says what should exist, `changes` compares it with what is observed. Both are functions of sets: the order of
their input does not matter, and after the changes are made there are none left.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.core.catalogue import HOST_CONFLICT, HOST_SHARED
from app.core.findings import Finding, Severity, quoted
from app.core.hosts import canonical_host, covers, names_service
from app.core.policy import GuardPolicy, Mode, Settings
from app.core.pooling import destination_rule
from app.core.resources import JSON, MANAGED_BY, MANAGER, OWNER_ANNOTATION, Fields, Key, ServiceEntry
from app.core.routing import Emitted, fingerprint, routable, virtual_service
from app.core.rules import exemption, in_scope
from app.core.tuning import tune

MESH = "mesh"
KINDS = ("VirtualService", "DestinationRule")
"""The kinds that are emitted, and observed for conflicts."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An object of an emitted kind as it is stored, ours or not: only what `changes` compares."""

    kind: str
    key: Key
    uid: str
    resource_version: str
    managed: bool
    claims: tuple[str, ...]
    """Canonical hosts, wildcards included, that it claims for sidecars."""
    export_to: tuple[str, ...]
    fingerprint: str

    @classmethod
    def parse(cls, manifest: JSON, namespace: str = "default") -> "Observed":
        """Read an object; `namespace` is used where it names none. Never raises."""
        root = Fields(manifest, "")
        meta, spec = root.child("metadata"), root.child("spec")
        owner = next((uid for ref in meta.children("ownerReferences") if (uid := ref.text("uid"))), "")
        gateways = tuple(spec.texts("gateways"))
        named = [*spec.texts("hosts"), *filter(None, [spec.text("host")])]
        return cls(
            kind=root.text("kind"),
            key=Key(meta.text("namespace") or namespace, meta.text("name")),
            uid=meta.text("uid"),
            resource_version=meta.text("resourceVersion"),
            managed=meta.child("labels").text(MANAGED_BY) == MANAGER,
            claims=tuple(map(canonical_host, named)) if not gateways or MESH in gateways else (),
            export_to=tuple(spec.texts("exportTo")),
            fingerprint=fingerprint(spec.values, meta.child("annotations").text(OWNER_ANNOTATION), owner),
        )

    def claims_host(self, host: str, namespace: str) -> bool:
        """Say whether sidecars of the namespace see this object decide the host."""
        visible = self.key.namespace == namespace or not self.export_to or {"*", namespace} & {*self.export_to}
        return bool(visible) and any(covers(claim, host) for claim in self.claims)


@dataclass(frozen=True, slots=True)
class Plan:
    """What should exist, and what there is to say of each entry about hosts that several claim."""

    objects: tuple[Emitted, ...]
    findings: Mapping[Key, tuple[Finding, ...]]


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object that yields to one that is not ours."""

    emitted: Emitted
    claimant: Observed

    @property
    def finding(self) -> Finding:
        """What the owner of the ServiceEntry is told."""
        theirs = f"{self.claimant.kind} {self.claimant.key}"
        message = f"{theirs} already claims {quoted(self.emitted.host)}, so no {self.emitted.kind} of ours is there"
        claimant = (self.claimant.kind, self.claimant.key)
        return Finding(HOST_CONFLICT, Severity.WARNING, "spec.hosts", message, claimant)


@dataclass(frozen=True, slots=True)
class Changes:
    """What must be written: objects to apply (with the stored one, if any), to delete, and to leave to others."""

    apply: tuple[tuple[Emitted, Observed | None], ...] = ()
    delete: tuple[Observed, ...] = ()
    foreign: tuple[Conflict, ...] = ()


def keys(entry: ServiceEntry) -> frozenset[Key]:
    """Return the keys of all objects that an entry may have a say in; each can be decided by itself."""
    names = {host.object_name for host in entry.hosts if host.object_name}
    return frozenset(Key(entry.key.namespace, name) for name in names)


def desired(entries: Iterable[ServiceEntry], policy: GuardPolicy) -> Plan:
    """Say what should exist for a set of entries of any namespaces."""
    groups = defaultdict[Key, list[ServiceEntry]](list)
    for entry in entries:
        for key in keys(entry):
            groups[key].append(entry)
    objects: list[Emitted] = []
    findings = defaultdict[Key, tuple[Finding, ...]](tuple)
    for key in sorted(groups, key=str):
        plan = desired_at(key, groups[key], policy)
        objects.extend(plan.objects)
        for owner, found in plan.findings.items():
            findings[owner] += found
    return Plan(tuple(objects), dict(findings))


def desired_at(key: Key, entries: Iterable[ServiceEntry], policy: GuardPolicy) -> Plan:
    """Say what should exist under one name; `entries` are all those with this key among their `keys`.

    Of each kind, the oldest entry that has one to emit decides.
    """
    objects: dict[str, Emitted] = {}
    findings: dict[Key, tuple[Finding, ...]] = {}
    for entry in sorted(entries, key=_age):
        for emitted in _emitted(key, entry, policy.settings(key.namespace)):
            owner = objects.setdefault(emitted.kind, emitted).owner
            if owner is not entry:
                findings[entry.key] = (_shared(emitted.host, owner),)
    return Plan(tuple(objects.values()), findings)


def changes(plan: Iterable[Emitted], observed: Iterable[Observed]) -> Changes:
    """Compare what should exist with what does; what is not ours is never written."""
    stored = {(one.kind, one.key): one for one in observed}
    foreign = [one for one in stored.values() if not one.managed]
    apply, conflicts, kept = list[tuple[Emitted, Observed | None]](), list[Conflict](), set[tuple[str, Key]]()
    for emitted in sorted(plan, key=lambda one: (one.kind, str(one.key))):
        current = stored.get((emitted.kind, emitted.key))
        if claimant := _claimant(emitted, current, foreign):
            conflicts.append(Conflict(emitted, claimant))
            continue
        kept.add((emitted.kind, emitted.key))
        if current is None or current.fingerprint != emitted.fingerprint:
            apply.append((emitted, current))
    delete = sorted(
        (one for place, one in stored.items() if one.managed and place not in kept),
        key=lambda one: (one.kind, str(one.key)),
    )
    return Changes(tuple(apply), tuple(delete), tuple(conflicts))


def _emitted(key: Key, entry: ServiceEntry, settings: Settings) -> Iterator[Emitted]:
    enforced = settings.mode is Mode.ENFORCE and in_scope(entry, settings) and not exemption(entry, settings)
    if not (enforced and routable(entry)):
        return
    host = next(host for host in entry.hosts if host.object_name == key.name)
    if names_service(host.canonical, settings.scope.cluster_domains):
        return
    tuning, _ = tune(entry.annotations, settings.virtual_service)
    candidates = (virtual_service(entry, host, tuning), destination_rule(entry, host, settings.destination_rule))
    yield from (one for one in candidates if one)


def _shared(host: str, owner: ServiceEntry) -> Finding:
    message = f"{quoted(host)} belongs to ServiceEntry {owner.key}, which is older"
    return Finding(HOST_SHARED, Severity.WARNING, "spec.hosts", message, ("ServiceEntry", owner.key))


def _age(entry: ServiceEntry) -> tuple[bool, str, str]:
    """Order by creation, oldest first; manifests that were never stored come last, by name."""
    return not entry.created, entry.created, entry.key.name


def _claimant(emitted: Emitted, current: Observed | None, foreign: Iterable[Observed]) -> Observed | None:
    if current and not current.managed:
        return current
    claimants = (
        one for one in foreign if one.kind == emitted.kind and one.claims_host(emitted.host, emitted.key.namespace)
    )
    return min(claimants, key=lambda one: str(one.key), default=None)
