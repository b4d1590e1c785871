"""The owners of hosts: which namespaces may have entries for which hosts.

The rule holds for any location, and for exempt entries.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from app.core.policy.model import Settings
from app.core.policy.tenancy import Owner
from app.core.resources.globs import matches
from app.core.resources.service_entry import ServiceEntry
from app.core.rules import templates
from app.core.rules.catalogue import HOST_OWNED
from app.core.rules.findings import Finding, Severity, and_more, quoted

Patterns = tuple[str, ...]
Holding = tuple[Owner, bool, frozenset[str], Patterns]
"""An owner, whether the entry is in one of its namespaces, and the owner's exact hosts and host suffixes."""


def owned_by_others(entry: ServiceEntry, settings: Settings) -> tuple[Finding, ...]:
    """Return the finding on hosts that belong to other namespaces."""
    if not settings.hosts.owners:
        return ()
    table = _table(settings.hosts.owners, settings.scope.cluster_domains)
    holdings = [(owner, matches(entry.key.namespace, owner.namespaces), exact, ends) for owner, exact, ends in table]
    hits = [(index, owner) for index, host in enumerate(entry.hosts) if (owner := _owner(host.canonical, holdings))]
    if not hits:
        return ()
    index, owner = hits[0]
    message = templates.HOST_OWNED.format(host=quoted(entry.hosts[index].text), owner=owned(owner))
    sentence = and_more(message, len(hits))
    return (Finding(HOST_OWNED, Severity.ERROR, f"spec.hosts[{index}]", sentence),)


def owned(owner: Owner) -> str:
    """Name an owner in a message."""
    return quoted(", ".join(owner.namespaces))


@lru_cache(maxsize=16)
def _table(owners: tuple[Owner, ...], domains: Patterns) -> tuple[tuple[Owner, frozenset[str], Patterns], ...]:
    """Return the hosts of each owner, made once for the settings of a namespace."""
    return tuple((owner, *compiled(spelled(owner.match, domains))) for owner in owners)


def spelled(match: Patterns, domains: Patterns) -> Patterns:
    """Return patterns, and their short forms for Services without the cluster domain: reviews.default.svc."""
    short = (name for pattern in match for domain in domains for name in _short(pattern, f".svc.{domain}"))
    return tuple(dict.fromkeys((*match, *short)))


def _short(pattern: str, services: str) -> Iterator[str]:
    if pattern.endswith(services):
        yield pattern.removesuffix(services) + ".svc"
    elif pattern.startswith("*") and services.endswith(pattern[1:]):
        yield "*.svc"


def compiled(patterns: Patterns) -> tuple[frozenset[str], Patterns]:
    """Split patterns into exact hosts and host suffixes."""
    ends = tuple(pattern[1:] for pattern in patterns if pattern.startswith("*"))
    return frozenset(pattern for pattern in patterns if not pattern.startswith("*")), ends


def _owner(host: str, holdings: Iterable[Holding]) -> Owner | None:
    """Return the owner that excludes a namespace from a host.

    Only the first owner in the list that matches the host counts. None if the namespace is one of its own.
    """
    for owner, own, exact, ends in holdings:
        if host in exact or host.endswith(ends):
            return None if own else owner
        if not own and host.startswith("*") and any(owned.endswith(host[1:]) for owned in (*exact, *ends)):
            return owner
    return None
