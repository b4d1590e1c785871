"""Information on a cluster beside its manifests: traffic, DNS load, ending exemptions, objects.

A report shows it after the entries. Nothing here changes a verdict; the finding on DNS load is a warning.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.core.resources.records import Record, replace
from app.core.resources.service_entry import Key
from app.core.routes.survey import Reviewed
from app.core.rules.catalogue import HOST_OWNED
from app.core.rules.findings import Finding

if TYPE_CHECKING:  # a review without figures of traffic needs none of these
    from app.core.insight.calls import Elsewhere, Window
    from app.core.insight.dns_load import DnsLoad
    from app.core.insight.forecast import Forecast


class Usage(Record):
    """The calls in a window: a forecast for each host, and calls to hosts without an entry."""

    window: "Window"
    forecasts: "Sequence[Forecast]" = ()
    elsewhere: "Sequence[Elsewhere]" = ()


class Insight(Record):
    """The parts of a report besides the verdicts; None if not requested."""

    usage: Usage | None = None
    dns: "DnsLoad | None" = None
    stored: Mapping[str, int] = {}
    """Objects of the guard that the cluster has, by namespace."""


class Ends(Record):
    """An exemption with an end date, and its entry."""

    until: str
    entry: Key


@dataclass(slots=True)
class Overview:
    """Overviews over all entries: exemptions by end date, objects by namespace, hosts with other owners."""

    ends: list[Ends] = field(default_factory=list)
    to_write: Counter[str] = field(default_factory=Counter)
    owned: list[tuple[Key, str]] = field(default_factory=list)

    def add(self, reviewed: Reviewed) -> None:
        """Count one more entry."""
        if reviewed.verdict.exempt_until:
            self.ends.append(Ends(reviewed.verdict.exempt_until, reviewed.entry.key))
        for emitted in reviewed.emitted:
            self.to_write[emitted.key.namespace] += 1
        self.owned += [
            (reviewed.entry.key, found.message) for found in reviewed.verdict.findings if found.rule is HOST_OWNED
        ]

    @property
    def ending(self) -> list[Ends]:
        """The exemptions by end date."""
        return sorted(self.ends, key=lambda exemption: (exemption.until, str(exemption.entry)))


class WithFindings:
    """Reviewed entries, some with an additional finding; can be iterated as often as the source."""

    def __init__(self, reviewed: Iterable[Reviewed], findings: Mapping[Key, Finding]) -> None:
        """Create it from the entries, and the additional findings by key."""
        self._reviewed = reviewed
        self._findings = findings

    def __iter__(self) -> Iterator[Reviewed]:
        """Yield the entries in order."""
        for reviewed in self._reviewed:
            finding = self._findings.get(reviewed.entry.key)
            yield replace(reviewed, shared=(*reviewed.shared, finding)) if finding else reviewed
