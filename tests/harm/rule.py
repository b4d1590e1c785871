"""The rule above all others: nothing that worked before gets worse.

Given what istiod gives the same proxies before and after the guard, `harms` lists each difference that an application
can notice, except for two:

1. a call that names its host (HTTP by authority, TLS by server name) goes to a STRICT_DNS cluster of that same host and
   port instead of the address that it dialled;
2. HTTP routes of exactly that host and port have the policy's retries and timeout. Their cluster is the one that they
   had, no retry condition of Istio's default is lost where the protocol can meet it, and no stream gets a deadline.

A call that leads to the dialled address before and after is the same, whichever cluster does it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.harm.calls import pairs
from tests.harm.destinations import Found, moved
from tests.harm.envoy import Side, Speech
from tests.harm.facts import Facts
from tests.harm.protocol import Answer, Chain, Description, Proxy, Rejected
from tests.harm.routes import Routed


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

    def harms(self) -> list[Harm]:
        """List what got worse, each thing once with the proxies for which it did."""
        suffered: dict[tuple[str, str], list[Proxy]] = {}
        for proxy, before, after in zip(self.proxies, self.before.proxies, self.after.proxies, strict=True):
            if before != after:
                for found in self._of_proxy(proxy, before, after):
                    suffered.setdefault(found, []).append(proxy)
        of_proxies = (Harm(kind, f"{what} ({self._who(proxies)})") for (kind, what), proxies in suffered.items())
        return [*self._rejections(), *of_proxies]

    def _who(self, suffering: Sequence[Proxy]) -> str:
        """Name the proxies that suffer something, by their kind."""
        kinds = dict.fromkeys(proxy.kind for proxy in self.proxies)
        namespaces = {kind: [one.namespace for one in suffering if one.kind == kind] for kind in kinds}
        alike = {tuple(names) for names in namespaces.values()}
        if len(alike) == 1:
            return f"every sidecar in {', '.join(alike.pop())}"
        return "; ".join(f"{kind} in {', '.join(names)}" for kind, names in namespaces.items() if names)

    def _rejections(self) -> Iterator[Harm]:
        before, after = ({_key(one): one for one in answer.rejected} for answer in (self.before, self.after))
        for key in after.keys() - before.keys():
            yield Harm("rejected", f"Istio rejects {_named(after[key])} after the guard: {after[key].reason}")
        for key in before.keys() - after.keys():
            reason = before[key].reason
            yield Harm(
                "accepted", f"Istio rejected {_named(before[key])} before the guard, and accepts it now: {reason}"
            )

    def _of_proxy(self, proxy: Proxy, before: Description, after: Description) -> Found:
        if before.inbound != after.inbound:
            yield "inbound", "what is taken from others is another"
        told = set[tuple[str, int, str]]()
        for pair in pairs(before, after, self.facts.hosts()):
            old, new = Side.of(before, pair.before), Side.of(after, pair.after)
            for kind, what in self._of_call(proxy, old, new, pair.host):
                if (kind, pair.after.port, what) not in told:
                    told.add((kind, pair.after.port, what))
                    yield kind, f"{pair.after} {what}"

    def _of_call(self, proxy: Proxy, old: Side, new: Side, host: str) -> Found:
        if old.chain is None or new.chain is None:
            if old.chain != new.chain:
                yield "closed", "is closed only before or only after the guard"
        elif _settings(old) != _settings(new) and _same_listener(old, new) and not self._dynamic(old.call.port):
            yield "settings", "is taken by a listener with other settings"
        elif old.http is not new.http:
            yield "handling", "is read as HTTP only before or only after the guard"
        elif not old.http:
            yield from self._of_connection(old, new, (old.chain, new.chain), host)
        elif old.call.speech is Speech.HTTP:
            yield from self._of_request(proxy, old, new, host)

    def _of_connection(self, old: Side, new: Side, chains: tuple[Chain, Chain], host: str) -> Found:
        first, second = chains
        if (first.idle, first.age) != (second.idle, second.age) and not self.facts.pooled(host):
            yield "pool", "is closed after another time"
        yield from moved(old, new, (first.clusters, second.clusters), host, self.facts)

    def _of_request(self, proxy: Proxy, old: Side, new: Side, host: str) -> Found:
        first, second = old.virtual_host, new.virtual_host
        if first is None or second is None:
            if first != second:
                yield "no-route", "has a route only before or only after the guard"
            return
        if first.rest != second.rest:
            yield "settings", "is handled by a virtual host with other settings"
        home = proxy.namespace if self.tenancy else None
        found = list(Routed(old, new, host, self.facts, home).harms((first, second)))
        yield from found
        changed = first.routes != second.routes and not found
        if self.tenancy and changed and not self.facts.touchable(proxy.namespace, host):
            yield "reach", f"has other routes, and namespace {proxy.namespace} did not agree to that"

    def _dynamic(self, port: int) -> bool:
        """Say whether a listener of a port may have got the filters that DYNAMIC_DNS needs."""
        return any(self.facts.dynamic(host) for host in self.facts.hosts().get(port, ()))


def _settings(side: Side) -> tuple[str, str] | None:
    return (side.listener.rest, side.chain.rest) if side.listener and side.chain else None


def _same_listener(old: Side, new: Side) -> bool:
    return bool(old.listener and new.listener and old.listener.name == new.listener.name)


def _key(one: Rejected) -> tuple[str, str, str]:
    return one.kind, one.namespace, one.name


def _named(one: Rejected) -> str:
    return f"{one.kind} {one.namespace}/{one.name}"
