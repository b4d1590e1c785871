"""What an index answers, found by a look at all that there is each time: slow, and simple enough to be right."""

from app.core.policy.model import GuardPolicy, default_policy
from app.core.resources.records import replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.candidates import Candidate, age, candidate
from app.core.routes.host_index import HostIndex
from app.core.routes.index import Neighbours, place
from app.core.routes.limits import no_room, too_large
from app.core.routes.observed import Observed
from app.core.routes.other_entries import other_entries
from app.core.routes.plan import Changes, Plan, changes, desired_at, keys


class Everything:
    """The model: all that is there, looked at as a whole each time."""

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        self.policy = policy or default_policy()
        self.entries: dict[Key, ServiceEntry] = {}
        self.objects: dict[tuple[str, Key], Observed] = {}

    def all_keys(self) -> set[Key]:
        """Every name with something to decide."""
        asked = {key for entry in self.entries.values() for key in keys(entry)}
        return asked | {place(one.key) for one in self.objects.values()}

    def decide(self, key: Key) -> tuple[Plan, Changes]:
        """What is planned and done for a name, by a look at all entries and objects."""
        plan = desired_at(key, self._neighbours(key))
        return plan, changes(plan, [one for one in self.objects.values() if one.managed and place(one.key) == key])

    def candidates(self) -> list[Candidate]:
        """All entries, with the limits that each exceeds alone or together with older ones of its namespace."""
        alone = [candidate(one, self.policy) for one in self.entries.values()]
        return [self._held_against_limits(one, alone) for one in alone]

    def _held_against_limits(self, one: Candidate, alone: list[Candidate]) -> Candidate:
        limits = one.settings.limits
        same = [other for other in alone if other.key.namespace == one.key.namespace]
        older = [other for other in same if age(other.entry) <= age(one.entry)]
        if any(self._overfull(one, [other for other in older if wanted in other.wanted()]) for wanted in one.wanted()):
            return replace(one, exceeded=too_large(limits))
        together = {wanted for other in older for wanted in other.wanted()}
        if any(one.wanted()) and len(together) > limits.namespace_objects:
            return replace(one, exceeded=no_room(limits))
        return one

    def _overfull(self, one: Candidate, asking: list[Candidate]) -> bool:
        """Say whether the ports of the youngest of these do not fit into an object with those of the others."""
        first, *others = sorted(asking, key=lambda other: age(other.entry))
        size, ports = first.size.of(len(first.ports)), set(first.ports)
        for other in others:
            grown = size + len(other.ports - ports) * other.size.port
            fits = grown <= one.settings.limits.object_bytes or other.ports <= ports
            if other is one:
                return not fits
            if fits:
                size, ports = grown, ports | other.ports
        return False

    def _neighbours(self, key: Key) -> Neighbours:
        named = [host.canonical for one in self.entries.values() for host in one.hosts if host.object_name == key.name]
        if not any(key in keys(one) for one in self.entries.values()):
            return Neighbours("", observed=tuple(self.objects.values()), policy=self.policy)
        host, candidates = named[0], self.candidates()
        index = HostIndex()
        for one in candidates:
            for each in {each.canonical for each in one.entry.hosts if each.object_name}:
                index.put(each, one.key, one)
        own = [one for one in index.at(host) if one.key.namespace == key.namespace]
        others, parents = other_entries(host, key.namespace, index), frozenset(one.key for one in index.at(host))
        return Neighbours(host, tuple(own), others, tuple(self.objects.values()), parents, policy=self.policy)


def same(one: tuple[Plan, Changes], other: tuple[Plan, Changes]) -> bool:
    """Say whether two decisions are the same, whatever the order of what was found of an entry."""
    plans = [
        replace(plan, findings={key: tuple(sorted(found, key=str)) for key, found in plan.findings.items()})
        for plan, _ in (one, other)
    ]
    return plans[0] == plans[1] and one[1] == other[1]
