"""Hosts that ServiceEntries of different namespaces offer to the whole mesh."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from app.core.catalogue import HOST_EXPORTED_TWICE
from app.core.findings import Finding, Severity, and_more, quoted
from app.core.policy import GuardPolicy
from app.core.resources import Key, ServiceEntry
from app.core.rules import in_scope

Overlaps = Mapping[str, tuple[Key, ...]]
"""By canonical host, the entries that offer it, in the order of their keys."""


def overlaps(entries: Iterable[ServiceEntry]) -> Overlaps:
    """Return the hosts that entries of more than one namespace export to everyone."""
    offers = defaultdict[str, set[Key]](set)
    for entry in entries:
        if not entry.export_to or "*" in entry.export_to:
            for host in entry.hosts:
                offers[host.canonical].add(entry.key)
    several = {host: keys for host, keys in offers.items() if len({key.namespace for key in keys}) > 1}
    return {host: tuple(sorted(keys, key=str)) for host, keys in several.items()}


def overlap_findings(entry: ServiceEntry, overlapping: Overlaps, policy: GuardPolicy) -> tuple[Finding, ...]:
    """Tell an entry that the policy looks at who else offers its hosts, a host at a time."""
    if not in_scope(entry, policy.settings(entry.key.namespace)):
        return ()
    found = []
    for host in entry.hosts:
        offers = overlapping.get(host.canonical, ())
        others = [key for key in offers if key.namespace != entry.key.namespace]
        if entry.key in offers:
            found.append(_finding(host.text, others))
    return tuple(found)


def _finding(host: str, others: list[Key]) -> Finding:
    message = f"ServiceEntry {others[0]} offers {quoted(host)} to the whole mesh as well"
    told = and_more(message, len(others))
    return Finding(HOST_EXPORTED_TWICE, Severity.INFO, "spec.hosts", told, ("ServiceEntry", others[0]))
