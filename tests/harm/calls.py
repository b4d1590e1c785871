"""The calls on which two configurations of a proxy can differ: all that either of them tells apart, and a bit beside.

An application reaches a host at an address that DNS gives it. A sidecar that captures DNS answers with addresses of its
own, which may differ before and after: so a call is a pair. An address that Istio allocates for a host is nobody
else's, and is only called by who resolved that host.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.core.resources.hosts import canonical_host
from tests.harm.envoy import ELSEWHERE, VIRTUAL_OUTBOUND, WILDCARDS, Call, Speech, is_allocated, without_port
from tests.harm.facts import Facts
from tests.harm.protocol import Chain, Description

STRANGER = "stranger.example.org"
"""A host that no configuration names."""
LOCALHOST = "127.0.0.1"
UNUSED_PORT = 9


@dataclass(frozen=True, slots=True)
class Pair:
    """The same call before and after; `host` is the host that it is for, as far as a sidecar can know it."""

    before: Call
    after: Call
    host: str


def pairs(before: Description, after: Description, facts: Facts) -> Iterator[Pair]:
    """Yield the calls to try."""
    hosts = facts.hosts()
    found = {UNUSED_PORT, *hosts, *_ports(before), *_ports(after)}
    for port in sorted(found):
        named = {host for host in hosts.get(port, ()) if not host.startswith("*")}
        yield from _at_port(port, (before, after), named, facts)


def proxied(port: int, facts: Facts) -> Iterator[Pair]:
    """Yield the requests to try on the port on which a sidecar is an HTTP proxy.

    Of a host with several ports, istiod lets chance decide which one answers for its name there.
    """
    for host in sorted({host for hosts in facts.hosts().values() for host in hosts}):
        if not host.startswith("*") and len(facts.ports(host)) == 1:
            yield _same(Call(port, Speech.HTTP, host, LOCALHOST))
    yield _same(Call(port, Speech.HTTP, STRANGER, LOCALHOST))


def _ports(description: Description) -> set[int]:
    return {
        one.port for one in description.listeners if one.name != VIRTUAL_OUTBOUND and LOCALHOST not in one.addresses
    }


def _at_port(port: int, both: tuple[Description, Description], hosts: set[str], facts: Facts) -> Iterator[Pair]:
    servers = {*hosts, STRANGER} | {name for one in both for name in _server_names(one, port)}
    authorities = {*hosts, STRANGER} | {name for one in both for name in _authorities(one, port)}
    addresses = {address for one in both for address in _addresses(one, port)}
    addresses |= {name for name in authorities if _is_address(name)}
    authorities -= addresses
    answered = {host for host in hosts if any(host in one.names for one in both)}
    # An application that asks the sidecar for the address of a host comes nowhere else.
    servers, authorities = servers - answered, authorities - answered
    for address in sorted({ELSEWHERE, *addresses}):
        yield from _at_address(Call(port, Speech.RAW, address=address), servers, authorities)
        if address in addresses - facts.shared_addresses(port):
            yield _same(Call(port, Speech.HTTP, address, address))
    for host in sorted(answered):
        yield from _by_name(port, both, host, facts.families(host, port))


def _at_address(raw: Call, servers: set[str], authorities: set[str]) -> Iterator[Pair]:
    yield _same(raw)
    yield from (_same(replace(raw, speech=Speech.TLS, name=name)) for name in sorted(servers))
    yield from (_same(replace(raw, speech=Speech.HTTP, name=name)) for name in sorted(authorities))


def _same(call: Call) -> Pair:
    return Pair(call, call, canonical_host(without_port(call.name)))


def _by_name(port: int, both: tuple[Description, Description], host: str, families: set[str]) -> Iterator[Pair]:
    """Yield the calls to a host at the address that each sidecar itself gives the application for it.

    Applications speak what the entry declares: the address is nobody else's. Where entries contradict each other, there
    is no telling.
    """
    if len(families) > 1:
        return
    before, after = (sorted(one.names.get(host, ())) or [ELSEWHERE] for one in both)
    for number, address in enumerate(after):
        known = before[min(number, len(before) - 1)], address
        for speech in Speech:
            if "opaque" in families or speech.name in families:
                name = "" if speech is Speech.RAW else host
                yield Pair(Call(port, speech, name, known[0]), Call(port, speech, name, known[1]), host)


def _chains(description: Description, port: int) -> Iterator[Chain]:
    for one in description.listeners:
        if one.port == port and one.name != VIRTUAL_OUTBOUND:
            yield from one.chains
            yield from [one.default] if one.default else []


def _server_names(description: Description, port: int) -> Iterator[str]:
    for chain in _chains(description, port):
        yield from (_instance(name) for name in chain.match.server_names)


def _authorities(description: Description, port: int) -> Iterator[str]:
    for chain in _chains(description, port):
        for virtual_host in description.routes.get(chain.route, ()):
            yield from (_instance(domain) for domain in map(without_port, virtual_host.domains) if _callable(domain))


def _addresses(description: Description, port: int) -> Iterator[str]:
    """Yield the addresses that listeners and chains name, and one of each range."""
    for one in description.listeners:
        if one.port == port and one.name != VIRTUAL_OUTBOUND:
            yield from (address for address in one.addresses if address not in WILDCARDS and not _allocated(address))
    for chain in _chains(description, port):
        for prefix in chain.match.prefixes:
            yield str(ipaddress.ip_network(prefix, strict=False)[-1])


def _instance(pattern: str) -> str:
    """Return a name that a pattern matches."""
    return STRANGER if pattern == "*" else pattern.replace("*", "some", 1)


def _callable(domain: str) -> bool:
    """Say whether requests have such an authority: istiod writes ranges of addresses too, which nothing asks for."""
    return not _allocated(domain) and "/" not in domain


def _allocated(text: str) -> bool:
    return _is_address(text) and is_allocated(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
