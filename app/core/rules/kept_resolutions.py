"""Standing entries: the ServiceEntries that keep their resolution, as far as the webhook knows them.

The webhook sees one object and has no credentials. The controller writes these entries into a ConfigMap, by namespace
and host; the webhook reads them from there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from app.core.resources.fields import JSON, Fields
from app.core.resources.records import Record
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.findings import Finding, and_more, port_label

Place = tuple[str, str]
"""A namespace, and a canonical host that entries of it name."""
SPLITS = "split"
"""The word for `splits` in the document."""


class Stays(Record):
    """An entry that keeps its resolution, and its ports in the format of a message."""

    name: str
    resolution: str
    ports: str
    splits: bool = False
    """Whether the entries of the host declare different ports or addresses, so that all keep their resolution."""

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
        """The entry in the format of the document."""
        return [self.name, self.resolution, self.ports, *([SPLITS] if self.splits else [])]


Standing = Mapping[Place, tuple[Stays, ...]]
"""The entries that keep their resolution, by namespace and host; at most two of each resolution."""


def places(entry: ServiceEntry) -> Iterator[Place]:
    """Yield the places (namespace and host) of an entry. An entry with an invalid host never changes for it."""
    for host in dict.fromkeys(host.canonical for host in entry.hosts if host.object_name):
        yield entry.key.namespace, host


def first_of_each(stays: Iterable[Stays]) -> Iterator[Stays]:
    """Yield two of each resolution, because one of them may be the reviewed entry itself."""
    count = Counter[str]()
    for stay in sorted(set(stays), key=lambda stay: (stay.name, stay.splits)):
        count[stay.resolution] += 1
        if count[stay.resolution] <= 2:
            yield stay


def as_document(stored: Standing) -> JSON:
    """Return standing entries as a document for the webhook, by namespace and host."""
    document: dict[str, dict[str, list[list[str]]]] = {}
    for (namespace, host), stays in sorted(stored.items()):
        document.setdefault(namespace, {})[host] = [stay.words for stay in stays]
    return document


def parse_standing(document: JSON) -> Standing:
    """Parse a document of `as_document`; raises ValueError if it is something else."""
    root = Fields(document, "")
    found: dict[Place, tuple[Stays, ...]] = {}
    for namespace, hosts in root.values.items():
        for host, stays in Fields(hosts, namespace, root).values.items():
            found[namespace, host] = tuple(_parse_stays(stays))
    if root.problems:
        raise ValueError(f"{root.problems[0].path} must be {root.problems[0].expected}")
    return found


def _parse_stays(stays: JSON) -> Iterator[Stays]:
    for item in stays if isinstance(stays, list) else (None,):
        if not isinstance(item, list) or len(item) not in {3, 4} or not all(isinstance(each, str) for each in item):
            raise ValueError("each host must have a list of [name, resolution, ports], with or without a word more")
        name, resolution, ports, *rest = item
        yield Stays(name, resolution, ports, splits=SPLITS in rest)
