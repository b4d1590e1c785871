"""What is known about a cluster beside its manifests: its traffic, what DNS would cost, exemptions that end, objects.

A report shows it after the entries. Nothing here changes a verdict; the finding on DNS load is a warning.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.core.insight.calls import Elsewhere, Window
from app.core.insight.dns_load import DnsLoad
from app.core.insight.forecast import Forecast
from app.core.policy.model import GuardPolicy, Mode, Settings
from app.core.resources.service_entry import Key
from app.core.routes.survey import Reviewed
from app.core.rules.catalogue import HOST_OWNED
from app.core.rules.findings import Finding


@dataclass(frozen=True, slots=True)
class Usage:
    """What was called in a window: a forecast for each host, and calls to hosts that no entry names."""

    window: Window
    forecasts: Sequence[Forecast] = ()
    elsewhere: Sequence[Elsewhere] = ()


@dataclass(frozen=True, slots=True)
class Insight:
    """What was asked for besides the verdicts; None where it was not."""

    usage: Usage | None = None
    dns: DnsLoad | None = None
    stored: Mapping[str, int] = field(default_factory=dict)
    """Objects of the guard that the cluster has, by namespace."""


@dataclass(frozen=True, slots=True)
class Ends:
    """An exemption that ends, and the entry that it leaves alone."""

    until: str
    entry: Key


@dataclass(slots=True)
class Overview:
    """What entries have in common: exemptions by the day on which they end, objects by namespace, hosts of others."""

    ends: list[Ends] = field(default_factory=list)
    to_write: Counter[str] = field(default_factory=Counter)
    owned: list[tuple[Key, str]] = field(default_factory=list)

    def add(self, one: Reviewed) -> None:
        """Count one more entry."""
        if one.verdict.exempt_until:
            self.ends.append(Ends(one.verdict.exempt_until, one.entry.key))
        for emitted in one.emitted:
            self.to_write[emitted.key.namespace] += 1
        self.owned += [(one.entry.key, found.message) for found in one.verdict.findings if found.rule is HOST_OWNED]

    @property
    def ending(self) -> list[Ends]:
        """The exemptions, those that end first before others."""
        return sorted(self.ends, key=lambda one: (one.until, str(one.entry)))


class WithFindings:
    """Reviewed entries, some with a finding more; to be gone through as often as they can be."""

    def __init__(self, reviewed: Iterable[Reviewed], findings: Mapping[Key, Finding]) -> None:
        """Take the entries, and the findings by their keys."""
        self._reviewed = reviewed
        self._findings = findings

    def __iter__(self) -> Iterator[Reviewed]:
        """Give the entries in order."""
        for one in self._reviewed:
            finding = self._findings.get(one.entry.key)
            yield replace(one, shared=(*one.shared, finding)) if finding else one


def enforced(policy: GuardPolicy) -> GuardPolicy:
    """Return a policy as it is once it is enforced: Warn becomes Enforce. The same object where nothing changes."""
    layers = (policy, *policy.laid_over)
    if all(one.mode is not Mode.WARN for one in layers):
        return policy
    return replace(policy, mode=_enforced(policy), laid_over=tuple(_layer(one) for one in policy.laid_over))


def _layer(settings: Settings) -> Settings:
    return replace(settings, mode=_enforced(settings))


def _enforced(settings: Settings) -> Mode:
    return Mode.ENFORCE if settings.mode is Mode.WARN else settings.mode
