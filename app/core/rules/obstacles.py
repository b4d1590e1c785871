"""What keeps a ServiceEntry from resolution DNS: a table with one row for each obstacle.

A row has its predicate twice, in Python for the core and in CEL for the API server. Order, path, severity and message
follow from the row in both languages: `resolution` reads the table, and so do `cel.variables` and `cel.messages`. The
tests compare both languages on a real API server.
"""

import json
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from app.core.policy.model import Settings, Tcp
from app.core.resources.hosts import LABEL, MAX_NAME, HostKind
from app.core.resources.records import Record
from app.core.resources.service_entry import NAMING, ServiceEntry
from app.core.rules import templates
from app.core.rules.catalogue import (
    CIDR_ADDRESS,
    ENDPOINTS_WITHOUT_RESOLUTION,
    MATCHED_BY_ADDRESS,
    MIXED_PORTS,
    NOT_FQDN,
    SHARED_PORT,
    WILDCARD_HOST,
    WORKLOAD_SELECTOR,
)
from app.core.rules.findings import Finding, Rule, Severity, and_more, port_label, quoted
from app.core.rules.predicates import fully, partly


class ListField(Record):
    """A list in `spec`, and how one of its items is named in a message.

    `variable` is the name of an item in CEL. `word` is the item's name in templates. `below` is what a path has behind
    the item.
    """

    name: str
    variable: str
    word: str
    items: Callable[[ServiceEntry], Sequence[Any]]
    shown: Callable[[Any], str]
    below: str = ""


HOSTS = ListField("hosts", "h", "host", attrgetter("hosts"), lambda host: quoted(host.text))
ADDRESSES = ListField("addresses", "a", "address", attrgetter("addresses"), quoted)
PORTS = ListField(
    "ports", "p", "port", attrgetter("ports"), lambda port: port_label(port.number, port.protocol), ".protocol"
)


class ItemObstacle(Record):
    """Items of a list that keep an entry from DNS.

    `found` and `cel` are the same predicate on an item. `applies` says under which settings the row counts, and
    `several_hosts` that it counts only for entries with more than one host.
    """

    rule: Rule
    template: str
    field: ListField
    found: Callable[[Any], bool]
    cel: str
    applies: Callable[[Settings], bool] = lambda _settings: True
    several_hosts: bool = False

    def find(self, entry: ServiceEntry, settings: Settings) -> Finding | None:
        """Return the finding on the first such item, which counts the others."""
        items = self.field.items(entry)
        if not items or not self.applies(settings) or (self.several_hosts and len(entry.hosts) < 2):
            return None
        if not any(map(self.found, items)):
            return None
        hits = [index for index, item in enumerate(items) if self.found(item)]
        named = {self.field.word: self.field.shown(items[hits[0]])}
        message = self.template.format(resolution=entry.resolution, count=len(entry.hosts), **named)
        path = f"spec.{self.field.name}[{hits[0]}]{self.field.below}"
        return Finding(self.rule, Severity.ERROR, path, and_more(message, len(hits)))


class FieldObstacle(Record):
    """A field that keeps an entry from DNS; `found` and `cel` are the same predicate on the entry."""

    rule: Rule
    template: str
    path: str
    found: Callable[[ServiceEntry], bool]
    cel: str

    def find(self, entry: ServiceEntry, _: Settings) -> Finding | None:
        """Return the finding on the field."""
        if not self.found(entry):
            return None
        return Finding(self.rule, Severity.ERROR, self.path, self.template.format(resolution=entry.resolution))


Obstacle = ItemObstacle | FieldObstacle


FITS = f'h.size() <= (h.endsWith(".") ? {MAX_NAME + 1} : {MAX_NAME})'
"""Whether a host h is no longer than DNS allows."""
_NO_WILDCARD = '!h.startsWith("*")'
_FQDN = " && ".join(
    (
        FITS,
        fully("h.lowerAscii()", rf"{LABEL}(?:\.{LABEL})+\.?"),
        "!" + partly("h", r"\.[0-9]+\.?$"),
    )
)
_NAMES_NO_HOST = f'!(p.?protocol.orValue("").upperAscii() in {json.dumps(sorted(NAMING))})'

OBSTACLES: tuple[Obstacle, ...] = (
    ItemObstacle(
        WILDCARD_HOST,
        templates.WILDCARD_HOST,
        HOSTS,
        found=lambda host: host.text.startswith("*"),
        cel='h.startsWith("*")',
    ),
    ItemObstacle(
        NOT_FQDN,
        templates.NOT_FQDN,
        HOSTS,
        found=lambda host: host.kind is HostKind.INVALID and not host.text.startswith("*"),
        cel=f"{_NO_WILDCARD} && !({_FQDN})",
    ),
    ItemObstacle(
        CIDR_ADDRESS,
        templates.CIDR_ADDRESS,
        ADDRESSES,
        found=lambda address: "/" in address,
        cel='a.contains("/")',
    ),
    ItemObstacle(
        MATCHED_BY_ADDRESS,
        templates.MATCHED_BY_ADDRESS,
        ADDRESSES,
        found=lambda address: "/" not in address,
        cel='!a.contains("/")',
    ),
    ItemObstacle(
        MIXED_PORTS,
        templates.MIXED_PORTS,
        PORTS,
        found=lambda port: port.protocol not in NAMING,
        cel=_NAMES_NO_HOST,
        applies=lambda settings: settings.resolution.tcp is Tcp.LEAVE,
    ),
    ItemObstacle(
        SHARED_PORT,
        templates.SHARED_PORT,
        PORTS,
        found=lambda port: port.protocol not in NAMING,
        cel=_NAMES_NO_HOST,
        applies=lambda settings: settings.resolution.tcp is not Tcp.LEAVE,
        several_hosts=True,
    ),
    FieldObstacle(
        ENDPOINTS_WITHOUT_RESOLUTION,
        templates.ENDPOINTS_WITHOUT_RESOLUTION,
        "spec.endpoints",
        found=lambda entry: bool(entry.endpoints),
        cel="variables.endpoints.size() > 0",
    ),
    FieldObstacle(
        WORKLOAD_SELECTOR,
        templates.WORKLOAD_SELECTOR,
        "spec.workloadSelector",
        found=lambda entry: entry.workload_selector,
        cel="variables.selector",
    ),
)
"""In the order in which findings are listed."""
