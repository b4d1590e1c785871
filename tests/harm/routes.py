"""Whether the HTTP routes of a host may be what they are now, instead of what they were."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.harm.destinations import Found, moved, opened, port_of, spelled
from tests.harm.envoy import Side
from tests.harm.facts import STATUSES, STREAMS, Facts, Wanted, covered
from tests.harm.protocol import Retry, Route, VirtualHost

BLOCK = '{"directResponse":{"status":502}}'
CATCH_ALL = '{"prefix":"/"}'
CONNECTION_CONDITIONS = frozenset({"connect-failure", "refused-stream"})
DEFAULT_CONDITIONS = CONNECTION_CONDITIONS | {"unavailable", "cancelled"}
"""Istio's own retries. It has retriable-status-codes as well, with no code: nothing meets that."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A request for a host, before and after. `home`: the namespace whose own entries alone may tune its routes."""

    old: Side
    new: Side
    host: str
    facts: Facts
    home: str | None = None

    def harms(self, hosts: tuple[VirtualHost, VirtualHost]) -> Found:
        """Yield what got worse about the request, given its virtual hosts."""
        before, after = (one.routes for one in hosts)
        if _but_clusters(before) == _but_clusters(after):
            for first, second in zip(before, after, strict=True):
                host = self.host if is_default(hosts[0]) else self._meant(second)
                yield from moved(self.old, self.new, (first.clusters, second.clusters), host, self.facts)
            return
        if is_blocked(hosts[0]):
            for route in after:
                yield from opened(self.new, route.clusters, self.host)
            return
        if not is_default(hosts[0]):
            if not self.facts.overrules:
                yield "routes", f"had {_told(self.old, before)}, and has {_told(self.new, after)}"
            return
        if not after or after[-1].match != CATCH_ALL:
            yield "no-route", f"has a route for part of its requests only: {_told(self.new, after)}"
        for route in after:
            yield from self._changed(before[0], route)

    def _meant(self, route: Route) -> str:
        """Return the host that others lead a request to: theirs is the word, also where it is resolved now."""
        cluster = self.new.cluster(route.clusters[0].cluster) if route.clusters else None
        return cluster.host if cluster else self.host

    def _changed(self, before: Route, after: Route) -> Found:
        yield from moved(self.old, self.new, (before.clusters, after.clusters), self.host, self.facts)
        # A route of others that only adds a fault looks like a default one; the policy may let ours come before it.
        if after.direct or (before.rest != after.rest and not self.facts.overrules):
            yield "settings", "is changed on its way otherwise"
        cluster = self.new.cluster(after.clusters[0].cluster) if after.clusters else None
        if cluster is None:
            return
        protocol = self.facts.protocol(cluster.host, cluster.namespace or None, port_of(after.clusters[0].cluster))
        wanted = self.facts.wanted(cluster.host, self.home)
        yield from _deadlines(before, after, protocol, wanted)
        if before.retry != after.retry:
            unsafe = after.match != CATCH_ALL and self.facts.splits(cluster.host)
            yield from _retries(before.retry, after.retry, protocol, wanted, unsafe=unsafe)


def _deadlines(before: Route, after: Route, protocol: str, wanted: Wanted) -> Found:
    limits = [after.timeout, after.grpc_timeout, after.stream_duration]
    if limits == [before.timeout, before.grpc_timeout, before.stream_duration]:
        return
    allowed = wanted.stream_timeouts if protocol in STREAMS else wanted.timeouts
    for limit in limits:
        if limit and limit not in allowed:
            kind = "stream-deadline" if protocol in STREAMS else "deadline"
            yield kind, f"is cut after {limit:g} s, which it was not before{_for(protocol)}"


def _retries(before: Retry | None, after: Retry | None, protocol: str, wanted: Wanted, *, unsafe: bool) -> Found:
    """Compare retries; the route of `unsafe` methods has what the policy says of them."""
    if after is None:
        if 0 not in wanted.attempts and not unsafe:
            yield "retries", f"is retried no more{_for(protocol)}"
        return
    yield from _tries(after, protocol, wanted)
    if unsafe:
        return
    default = DEFAULT_CONDITIONS if protocol in STATUSES else CONNECTION_CONDITIONS
    lost = default & covered(before.on if before else ()) - covered(after.on) - wanted.waived
    if lost:
        yield "conditions", f"is retried no more on {', '.join(sorted(lost))}{_for(protocol)}"


def _tries(retry: Retry, protocol: str, wanted: Wanted) -> Found:
    allowed = wanted.stream_per_tries if protocol in STREAMS else wanted.per_tries
    if retry.per_try and retry.per_try not in allowed:
        kind = "stream-deadline" if protocol in STREAMS else "deadline"
        yield kind, f"is given up where its answer does not begin within {retry.per_try:g} s{_for(protocol)}"
    if retry.attempts not in wanted.attempts:
        yield "retries", f"is tried {retry.attempts} times again, which no policy asks for"


def _but_clusters(routes: Sequence[Route]) -> list[Route]:
    return [
        Route(
            match=one.match,
            direct=one.direct,
            timeout=one.timeout,
            grpc_timeout=one.grpc_timeout,
            stream_duration=one.stream_duration,
            retry=one.retry,
            rest=one.rest,
        )
        for one in routes
    ]


def is_default(given: VirtualHost) -> bool:
    """Say whether routes are those that Istio gives a host, or all other hosts, where no VirtualService decides."""
    routes = given.routes
    if len(routes) != 1 or routes[0].match != CATCH_ALL or len(routes[0].clusters) != 1:
        return False
    one, cluster = routes[0], routes[0].clusters[0].cluster
    host = cluster.rpartition("|")[2]
    if "|" in cluster and host not in given.domains and not given.name.startswith(f"{host}:"):
        return False
    return not one.direct and not one.timeout and (one.retry is None or {*one.retry.on} >= DEFAULT_CONDITIONS)


def is_blocked(given: VirtualHost) -> bool:
    """Say whether a virtual host is the one of REGISTRY_ONLY, which refuses all that no entry is for."""
    return given.domains == ("*",) and [one.direct for one in given.routes] == [BLOCK]


def _told(side: Side, routes: Sequence[Route]) -> str:
    """Say what some routes do."""
    parts = []
    for one in routes:
        to = " and ".join(spelled(side, each.cluster) for each in one.clusters) or one.direct
        retry = f"retries on {','.join(one.retry.on)}" if one.retry else "no retries"
        limit = f", {one.timeout:g} s" if one.timeout else ""
        parts.append(f"{one.match} to {to}{limit}, {retry}")
    return "; ".join(parts) or "no route"


def _for(protocol: str) -> str:
    return f" ({protocol})" if protocol else ""
