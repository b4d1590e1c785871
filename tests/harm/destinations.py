"""Where a call ends, and whether it may end there instead of where it ended before."""

from collections.abc import Iterator, Sequence

from app.core.resources.hosts import canonical_host, covers
from tests.harm.envoy import Call, Side, is_allocated
from tests.harm.facts import Facts
from tests.harm.protocol import Cluster, Weighted

Found = Iterator[tuple[str, str]]
"""What got worse about one call: a word for its kind, and what there is to say of the call."""

DIALLED = "ORIGINAL_DST"
DYNAMIC = "envoy.clusters.dynamic_forward_proxy"
BLACK_HOLE = "BlackHoleCluster"
DEFAULT_POOL = (
    '{"connectTimeout":"10s","circuitBreakers":{"thresholds":[{"maxConnections":4294967295,'
    '"maxPendingRequests":4294967295,"maxRequests":4294967295,"maxRetries":4294967295}]}}'
)
"""What a cluster has without a DestinationRule."""


def moved(
    old: Side, new: Side, clusters: tuple[Sequence[Weighted], Sequence[Weighted]], host: str, facts: Facts
) -> Found:
    """Yield what got worse about where a call for a host goes; each with a word for its kind."""
    before, after = clusters
    if len(before) != len(after) or any(a.weight != b.weight for a, b in zip(before, after, strict=True)):
        yield "elsewhere", f"went to {_several(old, before)}, and goes to {_several(new, after)}"
        return
    for first, second in zip(before, after, strict=True):
        yield from _one_moved(old, new, (first.cluster, second.cluster), host, facts)


def opened(new: Side, clusters: Sequence[Weighted], host: str) -> Found:
    """Yield what got worse about a call that was blocked: it may reach the host that it is for, and no other.

    It may also reach the address that it dialled by an entry with resolution NONE. The guard makes none of those: the
    port of that entry had no listener, because istiod had given it to an older entry with a TLS port of that number.
    """
    for one in clusters:
        cluster = new.cluster(one.cluster)
        if cluster is None or one.cluster == BLACK_HOLE or (cluster.type == DIALLED and cluster.host):
            continue
        if not _named(cluster, host):
            yield "opened", f"was blocked, and goes to {spelled(new, one.cluster)}"


def spelled(side: Side, name: str) -> str:
    """Say where a cluster leads."""
    cluster = side.cluster(name)
    if cluster is None:
        return f"no cluster ({name})"
    if cluster.type == DIALLED:
        nowhere = ", which only sidecars know" if is_allocated(side.call.address) else ""
        return f"the dialled address{nowhere} ({name})"
    if name == BLACK_HOLE:
        return "nowhere (BlackHoleCluster)"
    endpoints = ", ".join(f"{one.address}:{one.port}" for one in cluster.endpoints) or "no endpoint"
    return f"{cluster.type} {endpoints} ({name})"


def _several(side: Side, clusters: Sequence[Weighted]) -> str:
    return " and ".join(f"{one.weight} of {spelled(side, one.cluster)}" for one in clusters) or "nowhere"


def _one_moved(old: Side, new: Side, names: tuple[str, str], host: str, facts: Facts) -> Found:
    before, after = old.cluster(names[0]), new.cluster(names[1])
    if names[0] == names[1] and before == after:
        return
    if before is None or _dead(before, old.call):
        return  # nothing gets worse about a call that always failed
    if names[0] == BLACK_HOLE:
        yield from opened(new, [Weighted(names[1], 1)], host)
    elif after is None or _dead(after, new.call):
        yield "no-cluster", f"went to {spelled(old, names[0])}, and goes to {spelled(new, names[1])}"
    elif not _same_place(old, new, names, host, facts):
        yield from _elsewhere(old, new, names)
    elif names[0] == names[1]:
        yield from _settings(before, after, port_of(names[0]), facts)
    elif before.tls != after.tls:
        yield "tls", "is encrypted otherwise"


def _elsewhere(old: Side, new: Side, names: tuple[str, str]) -> Found:
    first, second = spelled(old, names[0]), spelled(new, names[1])
    if first != second:
        yield "elsewhere", f"went to {first}, and goes to {second}"


def _dead(cluster: Cluster, call: Call) -> bool:
    """Say whether all calls fail: there is no endpoint, or the dialled address is one of the proxy."""
    dialled = cluster.type == DIALLED and (call.address.startswith("127.") or is_allocated(call.address))
    return dialled or (cluster.type == "EDS" and not cluster.endpoints)


def _named(cluster: Cluster, host: str) -> bool:
    return bool(host) and covers(canonical_host(cluster.host), canonical_host(host))


def _same_place(old: Side, new: Side, names: tuple[str, str], host: str, facts: Facts) -> bool:
    """Say whether a call reaches the same place, or the host that it is for instead of the address that it dialled."""
    before, after = old.description.clusters[names[0]], new.description.clusters[names[1]]
    where = [(one.type, _places(one), one.port_override) for one in (before, after)]
    if names[0] == names[1] and where[0] == where[1]:
        return True
    answered = is_allocated(new.call.address) and not is_allocated(old.call.address)
    if before.type != DIALLED and not answered:
        return False
    if after.type == DIALLED:
        return before.port_override == after.port_override
    if after.type == DYNAMIC:
        return facts.dynamic(canonical_host(host))
    if after.type == "EDS":
        return _places(after) == {(old.call.address, before.port_override or old.call.port)}
    # Others' routes may lead several ports to the cluster of one, which then is the port.
    ports = {before.port_override or old.call.port, *([port_of(names[0])] if names[0] == names[1] else [])}
    wanted = [{(canonical_host(host), port)} for port in ports]
    return after.type == "STRICT_DNS" and _named(after, host) and _places(after) in wanted


def port_of(name: str) -> int:
    """Return the port of a cluster by its name, 0 if it names none."""
    parts = name.split("|")
    return int(parts[1]) if len(parts) == 4 and parts[1].isdigit() else 0


def _places(cluster: Cluster) -> set[tuple[str, int]]:
    """Return the endpoints, each once: entries that share a host repeat its name."""
    return {(canonical_host(one.address), one.port) for one in cluster.endpoints}


def _settings(before: Cluster, after: Cluster, port: int, facts: Facts) -> Found:
    if before.tls != after.tls and (before.tls or not facts.originates(after.host, port)):
        yield "tls", "is encrypted otherwise"
    if before.pool != after.pool and (before.pool != DEFAULT_POOL or not facts.pooled(after.host)):
        yield "pool", f"has other connection settings: {before.pool} before, {after.pool} after"
    if before.http != after.http:
        yield "protocol", f"is sent in another protocol: {before.http} before, {after.http} after"
    if before.rest != after.rest and before.type == after.type:
        yield "settings", "goes to a cluster with other settings"
