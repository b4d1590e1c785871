"""The rule above all others: nothing that worked before gets worse.

Given what istiod gives the same proxies before and after the guard, `Comparison.harms` lists each difference that an
application can notice, except for two:

1. a call that names its host (HTTP by authority, TLS by server name) goes to a STRICT_DNS cluster of that same host and
   port instead of the address that it dialled;
2. HTTP routes of exactly that host and port have the policy's retries and timeout. Their cluster is the one that they
   had, no retry condition of Istio's default is lost where the protocol can meet it, and no stream gets a deadline.

A call that leads to the dialled address before and after is the same, whichever cluster does it. A call that always
failed cannot get worse.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.harm.calls import Pair, pairs, proxied
from tests.harm.destinations import Found, moved, opened, port_of
from tests.harm.envoy import Side, Speech
from tests.harm.facts import Facts
from tests.harm.protocol import Answer, Chain, Description, Proxy, Rejected, Weighted
from tests.harm.routes import Routed, is_blocked, is_default

Place = tuple[int, str, Pair]
"""Which proxy suffers, what kind of harm, and on which call."""


Counts = Callable[[Proxy, Pair], bool]
"""Says whether a call of a proxy is looked at."""


def every_call(_proxy: Proxy, _pair: Pair) -> bool:
    """Look at every call."""
    return True


@dataclass(frozen=True, slots=True)
class Harm:
    """One thing that got worse: a word for its kind, and a sentence."""

    kind: str
    sentence: str

    def __str__(self) -> str:
        """Say the sentence."""
        return self.sentence


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers about the same proxies. `tenancy`: routes of a namespace that did not agree may not change either."""

    before: Answer
    after: Answer
    proxies: Sequence[Proxy]
    facts: Facts
    tenancy: bool = False
    counts: Counts = every_call

    def rejections(self) -> Iterator[Harm]:
        """Yield the objects of which Istio's opinion changed."""
        before, after = ({_key(one): one for one in answer.rejected} for answer in (self.before, self.after))
        for key in after.keys() - before.keys():
            yield Harm("rejected", f"Istio rejects {_named(after[key])} after the guard: {after[key].reason}")
        for key in before.keys() - after.keys():
            reason = before[key].reason
            yield Harm(
                "accepted", f"Istio rejected {_named(before[key])} before the guard, and accepts it now: {reason}"
            )

    def suffered(self) -> Mapping[Place, str]:
        """Return what got worse for each proxy and call, in words."""
        found: dict[Place, str] = {}
        for number, proxy in enumerate(self.proxies):
            before, after = self.before.proxies[number], self.after.proxies[number]
            judged = before != after and self.facts.judges(proxy)
            for pair in self._calls(proxy, before, after) if judged else ():
                if not self.counts(proxy, pair):
                    continue
                old, new = Side.of(before, pair.before), Side.of(after, pair.after)
                for kind, what in self._of_call(proxy, old, new, pair.host):
                    found.setdefault((number, kind, pair), what)
        return found

    def harms(self, suffered: Mapping[Place, str]) -> list[Harm]:
        """Put in sentences what got worse, each thing once with the proxies for which it did."""
        told: dict[tuple[str, int, str], tuple[Pair, dict[int, None]]] = {}
        for (number, kind, pair), what in suffered.items():
            told.setdefault((kind, pair.after.port, what), (pair, {}))[1][number] = None
        return [
            Harm(kind, f"{pair.after} {what} ({self._who([self.proxies[number] for number in numbers])})")
            for (kind, _, what), (pair, numbers) in told.items()
        ]

    def _who(self, suffering: Sequence[Proxy]) -> str:
        """Name the proxies that suffer something, by their kind."""
        kinds = dict.fromkeys(proxy.kind for proxy in self.proxies)
        namespaces = {kind: [one.namespace for one in suffering if one.kind == kind] for kind in kinds}
        alike = {tuple(names) for names in namespaces.values()}
        if len(alike) == 1:
            return f"every sidecar in {', '.join(alike.pop())}"
        return "; ".join(f"{kind} in {', '.join(names)}" for kind, names in namespaces.items() if names)

    def _calls(self, proxy: Proxy, before: Description, after: Description) -> Iterator[Pair]:
        if proxy.http_proxy_port:
            return proxied(proxy.http_proxy_port, self.facts)
        return pairs(before, after, self.facts)

    def _of_call(self, proxy: Proxy, old: Side, new: Side, host: str) -> Found:
        if old.chain is None or new.chain is None:
            if old.chain:
                yield "closed", "was served, and is closed"
        elif _changed(old, new) and not self._dynamic(old.call.port):
            yield "settings", "is taken by a listener with other settings"
        elif old.http is not new.http:
            yield from self._handled_otherwise(old, new, host)
        elif not old.http:
            yield from self._of_connection(old, new, (old.chain, new.chain), host)
        elif old.call.speech is Speech.HTTP:
            yield from self._of_request(proxy, old, new, host)

    def _handled_otherwise(self, old: Side, new: Side, host: str) -> Found:
        before, after = _end(old), _end(new)
        if before is None or after is None:
            yield "handling", "is read as HTTP only before or only after the guard"
        elif before and not after:
            yield "closed", "was passed on, and is refused because it is not HTTP"
        elif before:
            yield from moved(old, new, (before, after), host, self.facts)
        else:
            yield from opened(new, after, host)

    def _of_connection(self, old: Side, new: Side, chains: tuple[Chain, Chain], host: str) -> Found:
        first, second = chains
        leads = [cluster.host for one in second.clusters if (cluster := new.cluster(one.cluster))]
        if (first.idle, first.age) != (second.idle, second.age) and leads and not any(map(self.facts.pooled, leads)):
            yield "pool", "is closed after another time"
        yield from moved(old, new, (first.clusters, second.clusters), host, self.facts)

    def _of_request(self, proxy: Proxy, old: Side, new: Side, host: str) -> Found:
        first, second = old.virtual_host, new.virtual_host
        if first is None or second is None:
            if first:
                yield "no-route", "had a route, and has none"
            return
        if first.rest != second.rest:
            yield "settings", "is handled by a virtual host with other settings"
        home = proxy.namespace if self.tenancy else None
        found = list(Routed(old, new, host, self.facts, home).harms((first, second)))
        yield from found
        changed = first.routes != second.routes and not found
        port = max((port_of(one.cluster) for route in second.routes for one in route.clusters), default=0)
        if self.tenancy and changed and not self.facts.touchable(proxy.namespace, host, port):
            yield "reach", f"has other routes, and namespace {proxy.namespace} did not agree to that"

    def _dynamic(self, port: int) -> bool:
        """Say whether a listener of a port may have got the filters that DYNAMIC_DNS needs."""
        return any(self.facts.dynamic(host) for host in self.facts.hosts().get(port, ()))


def _changed(old: Side, new: Side) -> bool:
    """Say whether the same listener takes a call otherwise: with other filters, or after looking at its first bytes.

    What waits for the server to speak first would wait for a look at the first bytes.
    """
    if not (old.listener and new.listener and old.chain and new.chain) or old.listener.name != new.listener.name:
        return False
    looks = {*new.listener.inspectors} - {*old.listener.inspectors} if old.call.speech is Speech.RAW else set()
    filters = old.chain.rest != new.chain.rest and old.chain.match == new.chain.match and old.http is new.http
    return old.listener.rest != new.listener.rest or bool(looks) or filters


def _end(side: Side) -> Sequence[Weighted] | None:
    """Return the clusters that a call comes to, none if it is refused or blocked; None if routes decide."""
    if not side.http:
        return side.chain.clusters if side.chain else ()
    if side.call.speech is not Speech.HTTP:
        return ()
    found = side.virtual_host
    if found and is_default(found):
        return found.routes[0].clusters
    return () if found and is_blocked(found) else None


def _key(one: Rejected) -> tuple[str, str, str]:
    return one.kind, one.namespace, one.name


def _named(one: Rejected) -> str:
    return f"{one.kind} {one.namespace}/{one.name}"
