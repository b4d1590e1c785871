"""ServiceEntries that keep their resolution: what the webhook knows of the siblings of the entry that it sees.

The webhook sees one object and has no credentials. The controller writes these entries into a ConfigMap, by namespace
and host; the webhook reads them from there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.core.resources.service_entry import JSON, Fields, ServiceEntry
from app.core.rules.findings import Finding, and_more, port_label

Place = tuple[str, str]
"""A namespace, and a canonical host that entries of it name."""
SPLITS = "split"
"""How the document says `splits`."""


@dataclass(frozen=True, slots=True)
class Stays:
    """An entry that keeps its resolution, and its ports as a message names them."""

    name: str
    resolution: str
    ports: str
    splits: bool = False
    """Whether the entries of the host declare different ports or addresses: all of them are left as they are."""

    @classmethod
    def of(cls, entry: ServiceEntry, *, splits: bool = False) -> "Stays":
        """Describe an entry."""
        labels = [port_label(port.number, port.protocol) for port in entry.ports] or ["no port"]
        return cls(entry.key.name, entry.resolution, and_more(labels[0], len(labels)), splits)

    @classmethod
    def at_waypoint(cls, finding: Finding) -> "Stays":
        """Describe an entry of another namespace that shares a waypoint, as a finding on this one names both."""
        return cls(str(finding.other[1]) if finding.other else "", "NONE", finding.message)

    @property
    def elsewhere(self) -> bool:
        """Whether it is an entry of another namespace; names have no slash."""
        return "/" in self.name

    @property
    def words(self) -> list[str]:
        """The entry as the document has it."""
        return [self.name, self.resolution, self.ports, *([SPLITS] if self.splits else [])]


Standing = Mapping[Place, tuple[Stays, ...]]
"""The entries that keep their resolution, at each place that they name; of each resolution no more than two."""


def places(entry: ServiceEntry) -> Iterator[Place]:
    """Yield the places that an entry names."""
    for host in dict.fromkeys(host.canonical for host in entry.hosts):
        yield entry.key.namespace, host


def first_of_each(stays: Iterable[Stays]) -> Iterator[Stays]:
    """Yield two of each resolution: an entry may be one of them, and asks for another."""
    count = Counter[str]()
    for one in sorted(set(stays), key=lambda one: (one.name, one.splits)):
        count[one.resolution] += 1
        if count[one.resolution] <= 2:
            yield one


def as_document(stored: Standing) -> JSON:
    """Write what the controller knows of standing entries for the webhook: by namespace, then host."""
    document: dict[str, dict[str, list[list[str]]]] = {}
    for (namespace, host), stays in sorted(stored.items()):
        document.setdefault(namespace, {})[host] = [one.words for one in stays]
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


def _parse_stays(stays: JSON) -> Iterator[Stays]:
    for one in stays if isinstance(stays, list) else (None,):
        if not isinstance(one, list) or len(one) not in {3, 4} or not all(isinstance(each, str) for each in one):
            raise ValueError("each host must have a list of [name, resolution, ports], with or without a word more")
        name, resolution, ports, *rest = one
        yield Stays(name, resolution, ports, splits=SPLITS in rest)
