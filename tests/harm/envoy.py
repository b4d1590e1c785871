"""What Envoy does with one call of an application, read from what istiod gives it.

The order of the looks is Envoy's: the listener of the address and port, then of the port, then the one that takes the
rest; its filter chains by port, address, server name, transport and application protocol, without a way back; the
virtual host by the longest domain.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.harm.protocol import Chain, Cluster, Description, Listener, VirtualHost

VIRTUAL_OUTBOUND = "virtualOutbound"
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - an address of Envoy's listeners
ELSEWHERE = "198.18.255.254"
"""An address that no configuration names."""
ALLOCATED = ipaddress.ip_network("240.240.0.0/16")
"""Addresses that Istio allocates: only a sidecar knows them, and nothing has them."""
HTTP_PROTOCOLS = frozenset({"http/1.1", "http/1.0", "h2c"})


class Speech(Enum):
    """What an application says first on a connection."""

    RAW = "TCP"
    TLS = "TLS"
    HTTP = "HTTP"


@dataclass(frozen=True, slots=True)
class Call:
    """One connection, and what is said on it: `name` is the server name of TLS or the authority of HTTP."""

    port: int
    speech: Speech
    name: str = ""
    address: str = ELSEWHERE

    def __str__(self) -> str:
        """Say it in words."""
        where = "" if self.address == ELSEWHERE else f" to {self.address}"
        what = {Speech.RAW: "a TCP connection", Speech.TLS: "a TLS connection", Speech.HTTP: "an HTTP request"}
        named = f" for {self.name}" if self.name else ""
        return f"{what[self.speech]}{named}{where} on port {self.port}"


@dataclass(frozen=True, slots=True)
class Side:
    """A call that meets a configuration. Without a chain the connection is closed."""

    description: Description
    call: Call
    listener: Listener | None
    chain: Chain | None

    @classmethod
    def of(cls, description: Description, call: Call) -> "Side":
        """Look up what takes the call."""
        listener = _listener(description, call)
        return cls(description, call, listener, _chain(listener, call) if listener else None)

    @property
    def http(self) -> bool:
        """Whether requests are read."""
        return bool(self.chain and self.chain.route)

    @property
    def virtual_host(self) -> VirtualHost | None:
        """The virtual host of the request."""
        routes = self.description.routes.get(self.chain.route, ()) if self.chain else ()
        return virtual_host_of(routes, self.call.name)

    def cluster(self, name: str) -> Cluster | None:
        """Return a cluster; without one a call fails."""
        return self.description.clusters.get(name)


def is_allocated(address: str) -> bool:
    """Say whether Istio allocated an address, so that it leads nowhere by itself."""
    return ipaddress.ip_address(address) in ALLOCATED


def _listener(description: Description, call: Call) -> Listener | None:
    here = [one for one in description.listeners if one.port == call.port and one.name != VIRTUAL_OUTBOUND]
    for one in here:
        if call.address in one.addresses:
            return one
    for one in here:
        if WILDCARDS & {*one.addresses}:
            return one
    return next((one for one in description.listeners if one.name == VIRTUAL_OUTBOUND), None)


def _chain(listener: Listener, call: Call) -> Chain | None:
    chains: Sequence[Chain] = listener.chains
    for narrow in (_by_port, _by_address, _by_server_name, _by_transport, _by_application):
        chains = narrow(chains, call)
    return chains[0] if chains else listener.default


def virtual_host_of(virtual_hosts: Iterable[VirtualHost], authority: str) -> VirtualHost | None:
    """Return the virtual host of an authority: the exact one, the longest suffix, the longest prefix, or "*"."""
    name = without_port(authority).lower()
    found = max(
        ((score, one) for one in virtual_hosts for domain in one.domains if (score := _score(domain.lower(), name))),
        key=lambda pair: pair[0],
        default=None,
    )
    return found[1] if found else None


def without_port(authority: str) -> str:
    """Return an authority without its port, as Envoy compares it here (ignore_port_in_host_matching)."""
    head, colon, tail = authority.rpartition(":")
    return head if colon and tail.isdigit() and not head.endswith(":") and "]" not in tail else authority


def _score(domain: str, name: str) -> tuple[int, int] | None:
    if domain == name:
        return 3, 0
    if domain == "*":
        return 0, 0
    if domain.startswith("*") and name.endswith(domain[1:]) and len(name) > len(domain) - 1:
        return 2, len(domain)
    if domain.endswith("*") and name.startswith(domain[:-1]) and len(name) > len(domain) - 1:
        return 1, len(domain)
    return None


def _by_port(chains: Sequence[Chain], call: Call) -> Sequence[Chain]:
    return [one for one in chains if one.match.port == call.port] or [one for one in chains if not one.match.port]


def _by_address(chains: Sequence[Chain], call: Call) -> Sequence[Chain]:
    lengths = {id(one): _longest(one.match.prefixes, call.address) for one in chains if one.match.prefixes}
    best = max(lengths.values(), default=-1)
    if best >= 0:
        return [one for one in chains if lengths.get(id(one)) == best]
    return [one for one in chains if not one.match.prefixes]


def _longest(prefixes: Iterable[str], address: str) -> int:
    """Return the length of the longest prefix that holds an address, -1 if none does."""
    ip = ipaddress.ip_address(address)
    networks = (ipaddress.ip_network(prefix, strict=False) for prefix in prefixes)
    return max((one.prefixlen for one in networks if ip in one), default=-1)


def _by_server_name(chains: Sequence[Chain], call: Call) -> Sequence[Chain]:
    for pattern in _server_names(call):
        found = [one for one in chains if pattern in {name.lower() for name in one.match.server_names}]
        if found:
            return found
    return [one for one in chains if not one.match.server_names]


def _server_names(call: Call) -> Iterator[str]:
    """Yield the server names that hold for a call, the most specific first."""
    if call.speech is Speech.TLS and call.name:
        name = call.name.lower()
        yield name
        while "." in name:
            _, _, name = name.partition(".")
            yield f"*.{name}"
        yield "*"


def _by_transport(chains: Sequence[Chain], call: Call) -> Sequence[Chain]:
    wanted = "tls" if call.speech is Speech.TLS else "raw_buffer"
    return [one for one in chains if one.match.transport == wanted] or [
        one for one in chains if not one.match.transport
    ]


def _by_application(chains: Sequence[Chain], call: Call) -> Sequence[Chain]:
    if call.speech is Speech.HTTP:
        found = [one for one in chains if HTTP_PROTOCOLS & {*one.match.applications}]
        if found:
            return found
    return [one for one in chains if not one.match.applications]
