"""ServiceEntries of one namespace that share a host, which stand or fall together.

Istio merges them under the resolution of the oldest; where resolutions differ, the ports of the others keep their
listeners and lose their clusters. So the resolution of one is changed only if all of them end with the same.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from app.core.catalogue import RESOLUTION_CHANGED, SIBLING_STAYS
from app.core.findings import Finding, Severity, port_label, quoted
from app.core.patch import Operation
from app.core.policy import GuardPolicy, Mode, Settings, Unfixable
from app.core.resources import ServiceEntry
from app.core.verdict import Judge, Verdict, remediation, review

H = TypeVar("H", bound=Hashable)
Place = tuple[str, str]
"""A namespace, and a canonical host that entries of it name."""


@dataclass(frozen=True, slots=True)
class Member:
    """An entry, and the verdict on it alone."""

    entry: ServiceEntry
    verdict: Verdict

    @property
    def resolution(self) -> str:
        """The resolution that it ends with, if nothing keeps it."""
        return self.verdict.patch[0]["value"] if self.verdict.patch else self.entry.resolution


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that must keep its resolution, the sibling that keeps its own, and the host that both name."""

    entry: ServiceEntry
    sibling: ServiceEntry
    host: str

    @property
    def message(self) -> str:
        """What the owner of the entry is told: both entries, and the ports that would fail."""
        ports = ", ".join(port_label(port.number, port.protocol) for port in self.sibling.ports) or "no port"
        return (
            f"ServiceEntry {self.sibling.key} names {quoted(self.host)} too and keeps resolution "
            f"{self.sibling.resolution}; with DNS here, its ports or these would have no cluster ({ports})"
        )


def held(members: Mapping[H, Member]) -> Mapping[H, Held]:
    """Return the entries that must keep their resolution, by the handles of the members.

    An entry that is kept keeps others in turn. Each host is looked at once, and once more for each entry of it that is
    kept.
    """
    sharing = defaultdict[Place, list[H]](list)
    for handle, member in members.items():
        for host in {host.canonical for host in member.entry.hosts}:
            sharing[member.entry.key.namespace, host].append(handle)
    found: dict[H, Held] = {}
    waiting = deque(place for place, handles in sharing.items() if len(handles) > 1)
    while waiting:
        place = waiting.popleft()
        for kept in _kept_at(place, [(handle, members[handle]) for handle in sharing[place]], found):
            namespace, entry = place[0], members[kept].entry
            shared = ((namespace, host.canonical) for host in entry.hosts)
            waiting.extend(each for each in shared if each != place and len(sharing[each]) > 1)
    return found


def judged(members: Mapping[H, Member], policy: GuardPolicy) -> Mapping[H, Verdict]:
    """Return the verdict on each entry in the company of its siblings."""
    kept = held(members)
    return {
        handle: keep(member.verdict, kept[handle], policy) if handle in kept else member.verdict
        for handle, member in members.items()
    }


def repair(
    entry: ServiceEntry, siblings: Mapping[Hashable, ServiceEntry], policy: GuardPolicy, judge: Judge = review
) -> tuple[Operation, ...]:
    """Return the patch for a stored entry that its siblings allow; empty where there is none, or the policy reports.

    `judge` is `review`, or something that remembers what it said.
    """
    patch = remediation(entry, policy, judge)
    if not patch:
        return ()
    members: dict[Hashable, Member] = {one.key: Member(one, judge(one, policy)) for one in siblings.values()}
    members[entry.key] = Member(entry, judge(entry, policy))
    return () if entry.key in held(members) else patch


def keep(verdict: Verdict, found: Held, policy: GuardPolicy) -> Verdict:
    """Take the patch from a verdict, and say why: as for an entry that cannot become DNS for what it says itself."""
    settings = policy.settings(found.entry.key.namespace)
    finding = Finding(
        SIBLING_STAYS, _severity(settings), "spec.hosts", found.message, ("ServiceEntry", found.sibling.key)
    )
    return Verdict((*(one for one in verdict.findings if one.rule is not RESOLUTION_CHANGED), finding))


def _severity(settings: Settings) -> Severity:
    refused = settings.mode is Mode.ENFORCE and settings.resolution.unfixable is Unfixable.DENY
    return Severity.ERROR if refused else Severity.WARNING


def _kept_at(place: Place, sharing: Iterable[tuple[H, Member]], found: dict[H, Held]) -> list[H]:
    """Note which of the entries that share a host must keep their resolution, and return them."""
    stays, changes = list[ServiceEntry](), list[tuple[H, Member]]()
    for handle, member in sharing:
        if handle in found or not member.verdict.patch or member.entry.terminating:
            stays.append(member.entry)
        else:
            changes.append((handle, member))
    kept = list[H]()
    for handle, member in changes:
        if sibling := next((one for one in stays if one.resolution != member.resolution), None):
            found[handle] = Held(member.entry, sibling, place[1])
            kept.append(handle)
    return kept
