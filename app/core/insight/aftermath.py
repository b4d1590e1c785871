"""Whether the guard cuts good calls: calls that end at a timeout, before and after a VirtualService was created."""

from collections.abc import Iterable, Mapping

from app.core.resources.quantities import count, share
from app.core.resources.records import Record
from app.core.rules.findings import Finding, Severity, quoted
from app.core.rules.traffic_catalogue import CALLS_CUT

LEAST = 10
"""Minimum number of calls that end at a timeout for a finding."""
RISE = 0.005
"""Minimum rise of their share for a finding: half a per cent of all calls."""


class Deadlines(Record):
    """The number of calls to a host in a window, and the number of them that ended at a timeout."""

    calls: float = 0.0
    ended: float = 0.0

    @property
    def share(self) -> float:
        """The share that ended at a timeout."""
        return self.ended / self.calls if self.calls else 0.0


def cut(host: str, before: Deadlines, after: Deadlines) -> Finding | None:
    """Return the finding on a host whose calls end at a timeout more often than before."""
    if after.ended < LEAST or after.share - before.share < RISE:
        return None
    message = (
        f"{share(after.ended, after.calls)} of {count(after.calls)} calls to {quoted(host)} end at a timeout, "
        f"{share(before.ended, before.calls)} before the guard's VirtualService"
    )
    return Finding(CALLS_CUT, Severity.WARNING, "spec.hosts", message)


def cuts(
    hosts: Iterable[str], before: Mapping[str, Deadlines], after: Mapping[str, Deadlines]
) -> Mapping[str, Finding]:
    """Return the findings on some hosts."""
    nothing = Deadlines()
    found = ((host, cut(host, before.get(host, nothing), after.get(host, nothing))) for host in hosts)
    return {host: finding for host, finding in found if finding}
