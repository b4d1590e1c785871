"""What documents and policy say beside istiod's answers: who names a host, and what its routes may come to have."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.policy.model import GuardPolicy, Mode, Settings, SplitHosts, Tcp, Wildcards
from app.core.policy.traffic import Reach, VirtualService
from app.core.resources.durations import parse_duration
from app.core.resources.globs import matches
from app.core.resources.hosts import canonical_host, covers
from app.core.resources.kinds import is_service_entry
from app.core.resources.service_entry import HTTP_FAMILY, TLS_FAMILY, ServiceEntry
from app.core.routes.candidates import seen_by
from app.core.rules.exemptions import exemption
from app.core.rules.retries import NO_ONE
from tests.harm.protocol import Manifest, Proxy

STREAMS = frozenset({"GRPC", "GRPC-WEB"})
"""Protocols whose calls may be streams."""
STATUSES = frozenset({"HTTP2", *STREAMS})
"""Protocols that can carry the status of gRPC."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the policy, and the annotations of entries, let the routes of a host have; times in seconds.

    `waived` are the conditions of Istio's default that whoever wrote the policy or an annotation left out on purpose.
    """

    timeouts: set[float] = field(default_factory=set)
    stream_timeouts: set[float] = field(default_factory=set)
    per_tries: set[float] = field(default_factory=set)
    stream_per_tries: set[float] = field(default_factory=set)
    attempts: set[int] = field(default_factory=set)
    waived: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Facts:
    """The ServiceEntries of a cluster under a policy."""

    entries: tuple[ServiceEntry, ...]
    policy: GuardPolicy

    @classmethod
    def read(cls, manifests: Iterable[Manifest], policy: GuardPolicy) -> "Facts":
        """Read the ServiceEntries of some manifests, but for those that no sidecar sees."""
        entries = (ServiceEntry.parse(one) for one in manifests if is_service_entry(one))
        return cls(tuple(one for one in entries if seen_by(one) != {NO_ONE}), policy)

    def hosts(self) -> Mapping[int, set[str]]:
        """Return the hosts by port."""
        found: dict[int, set[str]] = {}
        for entry in self.entries:
            for port in entry.ports:
                found.setdefault(port.number, set()).update(host.canonical for host in entry.hosts)
        return found

    def ports(self, host: str) -> set[int]:
        """Return the ports of a host in all namespaces."""
        return {port.number for entry in self.naming(host) for port in entry.ports}

    def families(self, host: str, port: int) -> set[str]:
        """Return what entries declare a port of a host to be: HTTP, TLS, or opaque."""
        declared = {one.protocol for entry in self.naming(host) for one in entry.ports if one.number == port}
        return {"HTTP" if one in HTTP_FAMILY else "TLS" if one in TLS_FAMILY else "opaque" for one in declared}

    def shared_addresses(self, port: int) -> set[str]:
        """Return the addresses that several hosts have on a port: istiod lets chance decide whose routes they get."""
        owners: dict[str, set[str]] = {}
        for entry in self.entries:
            if any(one.number == port for one in entry.ports):
                for address in entry.addresses:
                    owners.setdefault(address.partition("/")[0], set()).update(one.canonical for one in entry.hosts)
        return {address for address, hosts in owners.items() if len(hosts) > 1}

    def naming(self, host: str, namespace: str | None = None) -> Iterator[ServiceEntry]:
        """Yield the entries that name a host, all or those of a namespace."""
        for entry in self.entries:
            here = namespace in {None, entry.key.namespace}
            if here and canonical_host(host) in {one.canonical for one in entry.hosts}:
                yield entry

    def protocol(self, host: str, namespace: str | None, port: int) -> str:
        """Return the protocol of a port of a host, of the oldest entry, as istiod does: of all, or of a namespace."""
        oldest_first = sorted(self.naming(host, namespace), key=lambda one: (one.created, one.key.name))
        return next((each.protocol for one in oldest_first for each in one.ports if each.number == port), "")

    def pooled(self, host: str) -> bool:
        """Say whether the policy asks for a DestinationRule for a host."""
        return any(self.policy.settings(one.key.namespace).destination_rule.enabled for one in self.naming(host))

    def originates(self, host: str, port: int) -> bool:
        """Say whether the policy has TLS originated on a port."""
        return any(
            self.policy.settings(entry.key.namespace).destination_rule.tls_origination
            and any(one.number == port and one.http and one.target == 443 for one in entry.ports)
            for entry in self.naming(host)
        )

    def dynamic(self, host: str) -> bool:
        """Say whether a wildcard that covers a host has DYNAMIC_DNS, or the policy gives it that."""
        for entry in self.entries:
            given = self.policy.settings(entry.key.namespace).resolution.wildcards is Wildcards.DYNAMIC_DNS
            if given or entry.resolution == "DYNAMIC_DNS":
                wildcards = (one.canonical for one in entry.hosts if one.canonical.startswith("*"))
                if any(covers(one, canonical_host(host)) for one in wildcards):
                    return True
        return False

    def splits(self, host: str) -> bool:
        """Say whether the policy gives unsafe methods a route of their own."""
        settings = (self.policy.settings(one.key.namespace).virtual_service for one in self.naming(host))
        return any(one.unsafe_methods.retry_on is not None for one in settings)

    def wanted(self, host: str, home: str | None = None) -> Wanted:
        """Return what the routes of a host may come to have, whichever namespace's entry gives it to them.

        With a `home`, only its own entries count for it. If it has none, those of others do, and their annotations only
        where the policy lets them.
        """
        own = [*self.naming(host, home)]
        wanted = Wanted()
        for entry in own or self.naming(host):
            settings = self.policy.settings(entry.key.namespace).virtual_service
            _add_policy(wanted, settings)
            if own or settings.overrides.reach is Reach.ENTRY:
                _add_annotations(wanted, entry.annotations)
        return wanted

    @property
    def overrules(self) -> bool:
        """Whether the policy has the guard not yield to the routes of some namespaces."""
        return any(settings.virtual_service.yield_to != ("*",) for _, settings in self._settings())

    @property
    def resolves_opaque(self) -> bool:
        """Whether the policy has ports resolved that name no host: for sidecars that capture DNS, and block nothing."""
        return any(settings.resolution.tcp is Tcp.DNS for _, settings in self._settings())

    @property
    def splits_hosts(self) -> bool:
        """Whether the policy has the entries of a host changed whatever ports they declare: no sidecar captures DNS."""
        return any(settings.resolution.split_hosts is SplitHosts.DNS for _, settings in self._settings())

    def judges(self, proxy: Proxy) -> bool:
        """Say whether the policy is meant for sidecars of a kind."""
        return (proxy.protected or not self.resolves_opaque) and not (proxy.captures_dns and self.splits_hosts)

    def _settings(self) -> Iterator[tuple[str, Settings]]:
        return ((path, settings) for path, _, settings in self.policy.layers())

    def touchable(self, namespace: str, host: str, port: int) -> bool:
        """Say whether a namespace agreed to routes of ours for a host: by its policy, and its own entries."""
        settings = self.policy.settings(namespace)
        enforced = settings.mode is Mode.ENFORCE and not matches(namespace, settings.scope.excluded_namespaces)
        if not enforced or matches(namespace, settings.exemptions.namespaces):
            return False
        # An entry that is exported to others alone does not count at home.
        own = [one for one in self.naming(host, namespace) if seen_by(one) & {"*", namespace}]
        declaring = [entry for entry in own if any(one.number == port for one in entry.ports)]
        return not own or not all(exemption(entry, settings) for entry in declaring)


def _add_policy(wanted: Wanted, settings: VirtualService) -> None:
    grpc = settings.grpc
    wanted.timeouts.add(_seconds(settings.timeout))
    wanted.per_tries.add(_seconds(settings.retries.per_try_timeout))
    wanted.attempts.add(settings.retries.attempts)
    wanted.stream_timeouts.update(_seconds(one) for one in [grpc.timeout] if one)
    wanted.stream_per_tries.update(_seconds(one) for one in [grpc.per_try_timeout] if one)
    wanted.waived.update({"connect-failure", "refused-stream"} - covered(settings.retries.retry_on))
    wanted.waived.update({"unavailable", "cancelled"} - {*grpc.retry_on})


def _add_annotations(wanted: Wanted, annotations: Mapping[str, str]) -> None:
    if timeout := _duration(annotations.get("timeout", "")):
        wanted.timeouts.add(timeout)
        wanted.stream_timeouts.add(timeout)
    if per_try := _duration(annotations.get("per-try-timeout", "")):
        wanted.per_tries.add(per_try)
        wanted.stream_per_tries.add(per_try)
    if (attempts := annotations.get("attempts", "")).isdecimal():
        wanted.attempts.add(int(attempts))
    if "retry-on" in annotations:
        words = {word.strip() for word in annotations["retry-on"].split(",")}
        wanted.waived.update({"connect-failure", "refused-stream", "unavailable", "cancelled"} - covered(words))


def covered(conditions: Iterable[str]) -> set[str]:
    """Return the conditions, and those that Envoy counts among them: a reset is a failed connection, or a refusal."""
    found = {*conditions}
    if found & {"5xx", "gateway-error", "reset"}:
        found |= {"connect-failure", "refused-stream"}
    if "reset-before-request" in found:
        found.add("connect-failure")
    return found


def _seconds(duration: Any) -> float:
    return float(duration.milliseconds) / 1000


def _duration(text: str) -> float:
    try:
        return _seconds(parse_duration(text))
    except ValueError:
        return 0.0
