"""Siblings: ServiceEntries of one namespace that share a host, and get the same treatment.

Istio merges them under the resolution of the oldest; if resolutions differ, the ports of the others keep their
listeners and lose their clusters. So the guard changes the resolution of one only if all of them end up with the same
resolution, and have their ports at the same addresses (see `layouts`).
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from app.core.policy.model import Existing, GuardPolicy, Mode, Settings, SplitHosts, Unfixable
from app.core.resources.records import Record, replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.catalogue import HOST_SPLIT, RESOLUTION_CHANGED, SIBLING_STAYS
from app.core.rules.findings import Finding, Severity, quoted
from app.core.rules.kept_resolutions import Place, Standing, Stays, first_of_each, places
from app.core.rules.layouts import ADDRESSED, Layouts, clashing
from app.core.rules.verdict import Verdict, review
from app.core.rules.waypoint_findings import kept_at_waypoint

TARGETS = frozenset({"DNS", "DYNAMIC_DNS"})
"""The resolutions that the guard writes. An entry with one of them does not keep its siblings from changing."""
H = TypeVar("H", bound=Hashable)
Shape = tuple[str, frozenset[int]]
"""The facts by which Istio drops ports of one of two entries: the resolution, and the port numbers."""


class Member(Record):
    """An entry, and the verdict on it alone."""

    entry: ServiceEntry
    verdict: Verdict
    follows: bool = True
    """Whether its patch is applied when a sibling changes."""
    leaves_splits: bool = True
    """Whether it keeps its resolution if the entries of a host declare different ports or addresses."""

    @classmethod
    def stored(cls, entry: ServiceEntry, verdict: Verdict, policy: GuardPolicy) -> "Member":
        """Describe an entry of a cluster."""
        return cls(entry, verdict, follows(entry, policy), _leaves_splits(policy.settings(entry.key.namespace)))

    @classmethod
    def written(cls, entry: ServiceEntry, verdict: Verdict, policy: GuardPolicy) -> "Member":
        """Describe an entry that is being written: admission changes it."""
        return cls(entry, verdict, leaves_splits=_leaves_splits(policy.settings(entry.key.namespace)))

    @property
    def resolution(self) -> str:
        """The resolution after the verdict."""
        return self.verdict.patch[0]["value"] if self.verdict.patch else self.entry.resolution

    @property
    def stays(self) -> bool:
        """Whether it keeps its resolution regardless of siblings."""
        return not (self.verdict.patch and self.follows and not self.entry.terminating)


class Held(Record):
    """An entry that must keep its resolution, the sibling that keeps its own, and the host that both name."""

    entry: ServiceEntry
    sibling: Stays
    host: str

    def finding(self, severity: Severity) -> Finding:
        """The finding for the owner, with both entries and the ports that would fail."""
        if self.sibling.elsewhere:
            return kept_at_waypoint(self.entry, Key(*self.sibling.name.split("/", 1)), self.sibling.ports)
        key = Key(self.entry.key.namespace, self.sibling.name)
        own = Stays.of(self.entry)
        if self.sibling.splits and (self.sibling.resolution == own.resolution or self.sibling.ports == own.ports):
            return split(key, self.host)
        message = (
            f"ServiceEntry {key} names {quoted(self.host)} too and keeps resolution {self.sibling.resolution}: with "
            f"different resolutions either its {self.sibling.ports} or {own.ports} of this entry has no cluster"
        )
        severity = Severity.WARNING if self.sibling.splits else severity
        return Finding(SIBLING_STAYS, severity, "spec.hosts", message, ("ServiceEntry", key))


def follows(entry: ServiceEntry, policy: GuardPolicy) -> bool:
    """Say whether the controller patches a stored entry when a sibling changes."""
    return policy.settings(entry.key.namespace).existing is not Existing.REPORT


def held(members: Mapping[H, Member]) -> Mapping[H, Held]:
    """Return the entries that must keep their resolution, by the handles of the members.

    Such an entry makes its siblings keep theirs in turn. First come entries with a sibling of a different resolution,
    then entries of hosts with different ports, protocols or addresses. Each host is checked once for both, and once
    more for each of its entries that is added.
    """
    sharing = {place: handles for place, handles in _sharing(members).items() if len(handles) > 1}
    found: dict[H, Held] = {}
    for keep_at in (_kept_at, _split_at):
        waiting = dict.fromkeys(sorted(sharing))
        while waiting:
            place = next(iter(waiting))
            del waiting[place]
            for kept, newly in list(keep_at(place, [(handle, members[handle]) for handle in sharing[place]], found)):
                found[kept] = newly
                waiting |= {each: None for each in places(newly.entry) if each != place and each in sharing}
    return found


def judged(members: Mapping[H, Member], policy: GuardPolicy) -> Mapping[H, Verdict]:
    """Return the verdict on each entry together with its siblings."""
    kept = held(members)
    odds = at_odds(members, kept)
    return {handle: _in_company(handle, member, kept, odds, policy) for handle, member in members.items()}


def keep(verdict: Verdict, found: Held, policy: GuardPolicy, severity: Severity | None = None) -> Verdict:
    """Remove the patch from a verdict and add the reason, as for an unfixable entry."""
    finding = found.finding(severity or _severity(policy.settings(found.entry.key.namespace)))
    return Verdict((*(each for each in verdict.findings if each.rule is not RESOLUTION_CHANGED), finding))


def split(other: Key, host: str) -> Finding:
    """Return the finding on entries that differ in ports, protocols or addresses: with NONE, nothing fails."""
    message = (
        f"ServiceEntry {other} names {quoted(host)} too, and the entries of the host declare different ports, "
        "protocols or addresses: with resolution DNS, a call could get the address or the protocol of the other entry"
    )
    return Finding(HOST_SPLIT, Severity.WARNING, "spec.hosts", message, ("ServiceEntry", other))


def with_split(verdict: Verdict, finding: Finding) -> Verdict:
    """Add a finding because of siblings."""
    return replace(verdict, findings=(*verdict.findings, finding))


def at_odds(members: Mapping[H, Member], kept: Mapping[H, Held]) -> Mapping[H, Finding]:
    """Return a finding for each entry that has a sibling with a different resolution and different ports."""
    return dict(_at_odds(members, kept))


def standing(members: Mapping[H, Member], kept: Mapping[H, Held]) -> dict[Place, tuple[Stays, ...]]:
    """Return the entries that keep a resolution other than TARGETS, by namespace and host."""
    found = defaultdict[Place, list[Stays]](list)
    for handle, member in members.items():
        if member.entry.resolution not in TARGETS and (member.stays or handle in kept):
            splits = handle in kept and kept[handle].sibling.splits
            for place in places(member.entry):
                found[place].append(Stays.of(member.entry, splits=splits))
    for keeper in kept.values():
        if keeper.sibling.splits and keeper.sibling.resolution in TARGETS:
            found[keeper.entry.key.namespace, keeper.host].append(keeper.sibling)
    return {place: tuple(first_of_each(stays)) for place, stays in found.items()}


def beside(
    verdict: Verdict, entry: ServiceEntry, stored: Standing, policy: GuardPolicy, old: ServiceEntry | None = None
) -> Verdict:
    """Review an entry given only the stored siblings that keep their resolution.

    An update from `old` to the resolution of a sibling is admitted, because the controller restores entries that way.
    """
    if not (stored and verdict.patch):
        return verdict
    target = verdict.patch[0]["value"]
    others = (
        (sibling.splits, Held(entry, sibling, place[1]))
        for place in places(entry)
        for sibling in stored.get(place, ())
        if sibling.name != entry.key.name and (sibling.splits or sibling.resolution != target)
    )
    _, found = min(others, key=lambda pair: pair[0], default=(False, None))
    if not found:
        return verdict
    put_back = old and old.resolution == target and entry.resolution == found.sibling.resolution
    return keep(verdict, found, policy, Severity.WARNING if put_back else None)


def led(entry: ServiceEntry, target: str, siblings: Iterable[ServiceEntry]) -> bool:
    """Say whether a sibling of this entry already has the resolution that this entry would get."""
    hosts = {host.canonical for host in entry.hosts}
    return any(
        sibling.key != entry.key
        and sibling.resolution == target
        and not hosts.isdisjoint(each.canonical for each in sibling.hosts)
        for sibling in siblings
    )


def slipped(old: ServiceEntry | None, new: ServiceEntry, stored: Standing, policy: GuardPolicy) -> str | None:
    """Return the resolution to restore on an entry that admission changed although a sibling keeps its own.

    A new entry (`old` is None) is assumed to have had the sibling's resolution.
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


def _in_company(
    handle: H, member: Member, kept: Mapping[H, Held], odds: Mapping[H, Finding], policy: GuardPolicy
) -> Verdict:
    if handle in kept:
        return keep(member.verdict, kept[handle], policy)
    if handle in odds:
        return with_split(member.verdict, odds[handle])
    return member.verdict


def _at_odds(members: Mapping[H, Member], kept: Mapping[H, Held]) -> Iterator[tuple[H, Finding]]:
    for (_, host), handles in _sharing(members).items():
        sharing = [(handle, members[handle]) for handle in handles if handle not in kept]
        yield from ((handle, split(other.key, host)) for handle, other in _apart(_addressed(sharing)).items())
        ends = {member.resolution for _, member in sharing}
        shapes: dict[Shape, ServiceEntry] = {}
        for _, member in sharing if len(ends) > 1 else ():
            shapes.setdefault(_shape(member), member.entry)
        for handle, member in sharing if len(shapes) > 1 else ():
            resolution, ports = _shape(member)
            shape = next((shape for shape in shapes if shape[0] != resolution and shape[1] != ports), None)
            if shape:
                other = shapes[shape]
                message = f"ServiceEntry {other.key} names {quoted(host)} too and has resolution {other.resolution}: "
                message += f"either its {Stays.of(other).ports} or {Stays.of(member.entry).ports} has no cluster"
                place = ("ServiceEntry", other.key)
                yield handle, Finding(SIBLING_STAYS, Severity.WARNING, "spec.hosts", message, place)


def _shape(member: Member) -> Shape:
    return member.resolution, frozenset(port.number for port in member.entry.ports)


def _leaves_splits(settings: Settings) -> bool:
    return settings.resolution.split_hosts is SplitHosts.LEAVE


def _severity(settings: Settings) -> Severity:
    refused = settings.mode is Mode.ENFORCE and settings.resolution.unfixable is Unfixable.DENY
    return Severity.ERROR if refused else Severity.WARNING


def _sharing(members: Mapping[H, Member]) -> Mapping[Place, list[H]]:
    """Return the members by host, sorted by name, so that messages do not vary."""
    sharing = defaultdict[Place, list[H]](list)
    for handle, member in sorted(members.items(), key=lambda item: str(item[1].entry.key)):
        for place in places(member.entry):
            sharing[place].append(handle)
    return sharing


def _kept_at(place: Place, sharing: Sequence[tuple[H, Member]], found: Mapping[H, Held]) -> Iterator[tuple[H, Held]]:
    """Yield the entries that must keep their resolution, because a sibling keeps a different one."""
    stays = [(handle, member.entry) for handle, member in sharing if handle in found or member.stays]
    for handle, member in sharing:
        others = (stay for other, stay in stays if other != handle and stay.resolution != member.resolution)
        if member.verdict.patch and handle not in found and (sibling := next(others, None)):
            yield handle, Held(member.entry, Stays.of(sibling), place[1])


def _split_at(place: Place, sharing: Sequence[tuple[H, Member]], found: Mapping[H, Held]) -> Iterator[tuple[H, Held]]:
    """Yield the entries that keep their resolution because siblings declare different ports, protocols or addresses."""
    addressed, contested = _addressed(sharing), _contested(sharing)
    apart = _apart(addressed) | contested
    left = next((member.entry for handle, member in sharing if handle in found and found[handle].sibling.splits), None)
    left = left or next(iter(contested.values()), None)
    for handle, member in sharing if contested else addressed.items():
        if member.verdict.patch and handle not in found and (other := apart.get(handle, left)):
            yield handle, Held(member.entry, Stays.of(other, splits=True), place[1])


def _contested(sharing: Sequence[tuple[H, Member]]) -> dict[H, ServiceEntry]:
    """Return the entries whose change could give a port of a sibling, which has that resolution, another protocol."""
    stored = [member for _, member in sharing if not member.verdict.patch]
    found = (
        (handle, clashing(member.entry, (each.entry for each in stored if each.resolution == member.resolution)))
        for handle, member in sharing
        if member.verdict.patch
    )
    return {handle: other for handle, other in found if other}


def _apart(addressed: Mapping[H, Member]) -> dict[H, ServiceEntry]:
    """Return for each entry of a host a sibling with different ports or addresses, if any."""
    layouts = Layouts(member.entry for member in addressed.values())
    others = ((handle, layouts.apart_from(member.entry)) for handle, member in addressed.items())
    return {handle: other for handle, other in others if other}


def _addressed(sharing: Iterable[tuple[H, Member]]) -> dict[H, Member]:
    """Return the entries that would get their own addresses, if the policy says splitHosts: Leave."""
    return {handle: member for handle, member in sharing if member.leaves_splits and member.resolution == ADDRESSED}
