"""ServiceEntries of one namespace that share a host, which stand or fall together.

Istio merges them under the resolution of the oldest; where resolutions differ, the ports of the others keep their
listeners and lose their clusters. So the resolution of one is changed only if all of them end with the same.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from app.core.catalogue import RESOLUTION_CHANGED, SIBLING_STAYS
from app.core.findings import Finding, Severity, and_more, port_label, quoted
from app.core.policy import Existing, GuardPolicy, Mode, Settings, Unfixable
from app.core.resources import JSON, Fields, Key, ServiceEntry
from app.core.verdict import Verdict, review

TARGETS = frozenset({"DNS", "DYNAMIC_DNS"})
"""The resolutions that entries are given: beside them, others may be given the same."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
H = TypeVar("H", bound=Hashable)
Place = tuple[str, str]
"""A namespace, and a canonical host that entries of it name."""
Shape = tuple[str, frozenset[int]]
"""What decides whether Istio drops ports of one of two entries: the resolution, and the numbers of the ports."""


@dataclass(frozen=True, slots=True)
class Stays:
    """An entry that keeps its resolution, and its ports as a message names them."""

    name: str
    resolution: str
    ports: str

    @classmethod
    def of(cls, entry: ServiceEntry) -> "Stays":
        """Describe an entry."""
        labels = [port_label(port.number, port.protocol) for port in entry.ports] or ["no port"]
        return cls(entry.key.name, entry.resolution, and_more(labels[0], len(labels)))


Standing = Mapping[Place, tuple[Stays, ...]]
"""The entries that keep their resolution, at each place that they name; of each resolution no more than two."""


@dataclass(frozen=True, slots=True)
class Member:
    """An entry, the verdict on it alone, and whether it takes its patch when an entry that shares a host changes."""

    entry: ServiceEntry
    verdict: Verdict
    follows: bool = True

    @property
    def resolution(self) -> str:
        """The resolution that the verdict gives it."""
        return self.verdict.patch[0]["value"] if self.verdict.patch else self.entry.resolution

    @property
    def stays(self) -> bool:
        """Whether it keeps its resolution, whatever others do."""
        return not (self.verdict.patch and self.follows and not self.entry.terminating)


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that must keep its resolution, the sibling that keeps its own, and the host that both name."""

    entry: ServiceEntry
    sibling: Stays
    host: str

    @property
    def finding(self) -> tuple[str, tuple[str, Key]]:
        """What the owner of the entry is told, naming both entries and the ports that would fail; and the sibling."""
        key = Key(self.entry.key.namespace, self.sibling.name)
        own = Stays.of(self.entry)
        message = (
            f"ServiceEntry {key} names {quoted(self.host)} too and keeps resolution {self.sibling.resolution}: with "
            f"different resolutions either its {self.sibling.ports} or {own.ports} of this entry has no cluster"
        )
        return message, ("ServiceEntry", key)


def places(entry: ServiceEntry) -> Iterator[Place]:
    """Yield the places that an entry names."""
    for host in dict.fromkeys(host.canonical for host in entry.hosts):
        yield entry.key.namespace, host


def follows(entry: ServiceEntry, policy: GuardPolicy) -> bool:
    """Say whether the controller brings a stored entry along when one that shares a host with it changes."""
    return policy.settings(entry.key.namespace).existing is not Existing.REPORT


def held(members: Mapping[H, Member]) -> Mapping[H, Held]:
    """Return the entries that must keep their resolution, by the handles of the members.

    An entry that is kept keeps others in turn. Each host is looked at once, and once more for each entry of it that is
    kept.
    """
    sharing = _sharing(members)
    found: dict[H, Held] = {}
    waiting = dict.fromkeys(place for place, handles in sharing.items() if len(handles) > 1)
    while waiting:
        place = next(iter(waiting))
        del waiting[place]
        for kept in _kept_at(place, [(handle, members[handle]) for handle in sharing[place]], found):
            shared = places(members[kept].entry)
            waiting |= dict.fromkeys(each for each in shared if each != place and len(sharing[each]) > 1)
    return found


def judged(members: Mapping[H, Member], policy: GuardPolicy) -> Mapping[H, Verdict]:
    """Return the verdict on each entry in the company of its siblings."""
    kept = held(members)
    odds = at_odds(members, kept)
    return {handle: _in_company(handle, member, kept, odds, policy) for handle, member in members.items()}


def keep(verdict: Verdict, found: Held, policy: GuardPolicy, severity: Severity | None = None) -> Verdict:
    """Take the patch from a verdict, and say why: as for an entry that cannot become DNS for what it says itself."""
    message, sibling = found.finding
    severity = severity or _severity(policy.settings(found.entry.key.namespace))
    finding = Finding(SIBLING_STAYS, severity, "spec.hosts", message, sibling)
    return Verdict((*(one for one in verdict.findings if one.rule is not RESOLUTION_CHANGED), finding))


def told(verdict: Verdict, finding: Finding) -> Verdict:
    """Add what the company of siblings shows."""
    return replace(verdict, findings=(*verdict.findings, finding))


def at_odds(members: Mapping[H, Member], kept: Mapping[H, Held]) -> Mapping[H, Finding]:
    """Return a finding for each entry that stands beside one of its host with another resolution and other ports."""
    return dict(_at_odds(members, kept))


def standing(members: Mapping[H, Member], kept: Mapping[H, Held]) -> dict[Place, tuple[Stays, ...]]:
    """Return the entries that keep another resolution than entries are given, at each place that they name."""
    found = defaultdict[Place, list[Stays]](list)
    for handle, member in members.items():
        if member.entry.resolution not in TARGETS and (member.stays or handle in kept):
            for place in places(member.entry):
                found[place].append(Stays.of(member.entry))
    return {place: tuple(_first(stays)) for place, stays in found.items()}


def beside(
    verdict: Verdict, entry: ServiceEntry, stored: Standing, policy: GuardPolicy, old: ServiceEntry | None = None
) -> Verdict:
    """Judge an entry of which only the stored siblings that keep their resolution are known.

    An update from `old` that gives it the resolution of a sibling is let in: that is how the controller puts it back.
    """
    if not (stored and verdict.patch):
        return verdict
    target = verdict.patch[0]["value"]
    for place in places(entry):
        for sibling in stored.get(place, ()):
            if sibling.name != entry.key.name and sibling.resolution != target:
                put_back = old and old.resolution == target and entry.resolution == sibling.resolution
                severity = Severity.WARNING if put_back else None
                return keep(verdict, Held(entry, sibling, place[1]), policy, severity)
    return verdict


def led(entry: ServiceEntry, target: str, siblings: Iterable[ServiceEntry]) -> bool:
    """Say whether an entry that shares a host with this one has the resolution already that this one is to be given."""
    hosts = {host.canonical for host in entry.hosts}
    return any(
        one.key != entry.key and one.resolution == target and not hosts.isdisjoint(each.canonical for each in one.hosts)
        for one in siblings
    )


def as_document(stored: Standing) -> JSON:
    """Write what the controller knows of standing entries for the webhook: by namespace, then host."""
    document: dict[str, dict[str, list[list[str]]]] = {}
    for (namespace, host), stays in sorted(stored.items()):
        document.setdefault(namespace, {})[host] = [[one.name, one.resolution, one.ports] for one in stays]
    return document


def parse_standing(document: JSON) -> Standing:
    """Read what `as_document` wrote; raises ValueError where it is something else."""
    root = Fields(document, "")
    found: dict[Place, tuple[Stays, ...]] = {}
    for namespace, hosts in root.values.items():
        for host, stays in Fields(hosts, namespace, root.problems).values.items():
            found[namespace, host] = tuple(_parse_stays(stays))
    if root.problems:
        raise ValueError(f"{root.problems[0].path} must be {root.problems[0].expected}")
    return found


def slipped(old: ServiceEntry | None, new: ServiceEntry, stored: Standing, policy: GuardPolicy) -> str | None:
    """Return the resolution to give back to an entry that admission changed although a sibling keeps its own.

    An entry that came (`old` is None) is taken to have had what the sibling has.
    """
    for place in places(new):
        for sibling in stored.get(place, ()):
            was = old.resolution if old else sibling.resolution
            if sibling.name == new.key.name or new.resolution in {was, sibling.resolution}:
                continue
            patch = review(replace(new, resolution=was), policy).patch
            if patch and patch[0]["value"] == new.resolution:
                return was
    return None


def wrote(manifest: JSON, resolution: str) -> bool:
    """Say whether an author wrote this resolution, as far as kubectl's annotation of what was last applied says it."""
    annotations = Fields(manifest, "").child("metadata").child("annotations")
    try:
        applied = json.loads(annotations.text(LAST_APPLIED) or "null")
    except (ValueError, RecursionError):
        return False
    spec = Fields(applied, "").child("spec")
    return bool(spec.values) and (spec.text("resolution") or "NONE") == resolution


def _parse_stays(stays: JSON) -> Iterator[Stays]:
    for one in stays if isinstance(stays, list) else (None,):
        if not (isinstance(one, list) and len(one) == len(Stays.__slots__) and all(isinstance(s, str) for s in one)):
            raise ValueError("each host must have a list of [name, resolution, ports]")
        yield Stays(*one)


def _in_company(
    handle: H, member: Member, kept: Mapping[H, Held], odds: Mapping[H, Finding], policy: GuardPolicy
) -> Verdict:
    if handle in kept:
        return keep(member.verdict, kept[handle], policy)
    if handle in odds:
        return told(member.verdict, odds[handle])
    return member.verdict


def _at_odds(members: Mapping[H, Member], kept: Mapping[H, Held]) -> Iterator[tuple[H, Finding]]:
    for (_, host), handles in _sharing(members).items():
        sharing = [(handle, members[handle]) for handle in handles if handle not in kept]
        ends = {member.resolution for _, member in sharing}
        shapes: dict[Shape, ServiceEntry] = {}
        for _, member in sharing if len(ends) > 1 else ():
            shapes.setdefault(_shape(member), member.entry)
        for handle, member in sharing if len(shapes) > 1 else ():
            resolution, ports = _shape(member)
            shape = next((one for one in shapes if one[0] != resolution and one[1] != ports), None)
            if shape:
                other = shapes[shape]
                message = f"ServiceEntry {other.key} names {quoted(host)} too and has resolution {other.resolution}: "
                message += f"either its {Stays.of(other).ports} or {Stays.of(member.entry).ports} has no cluster"
                place = ("ServiceEntry", other.key)
                yield handle, Finding(SIBLING_STAYS, Severity.WARNING, "spec.hosts", message, place)


def _shape(member: Member) -> Shape:
    return member.resolution, frozenset(port.number for port in member.entry.ports)


def _first(stays: Iterable[Stays]) -> Iterator[Stays]:
    """Yield two of each resolution: an entry may be one of them, and asks for another."""
    count = Counter[str]()
    for one in sorted(stays, key=lambda one: one.name):
        count[one.resolution] += 1
        if count[one.resolution] <= 2:
            yield one


def _severity(settings: Settings) -> Severity:
    refused = settings.mode is Mode.ENFORCE and settings.resolution.unfixable is Unfixable.DENY
    return Severity.ERROR if refused else Severity.WARNING


def _sharing(members: Mapping[H, Member]) -> Mapping[Place, list[H]]:
    """Return the members that name each place, in the order of their names: it decides whom a finding names."""
    sharing = defaultdict[Place, list[H]](list)
    for handle, member in sorted(members.items(), key=lambda item: str(item[1].entry.key)):
        for place in places(member.entry):
            sharing[place].append(handle)
    return sharing


def _kept_at(place: Place, sharing: Iterable[tuple[H, Member]], found: dict[H, Held]) -> list[H]:
    """Note which of the entries that share a host must keep their resolution, and return them."""
    sharing = tuple(sharing)
    stays = [(handle, member.entry) for handle, member in sharing if handle in found or member.stays]
    kept = list[H]()
    for handle, member in sharing:
        if handle in found or not member.verdict.patch:
            continue
        others = (one for other, one in stays if other != handle and one.resolution != member.resolution)
        if sibling := next(others, None):
            found[handle] = Held(member.entry, Stays.of(sibling), place[1])
            kept.append(handle)
    return kept
