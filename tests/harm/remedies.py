"""What the remedies of the catalogue tell authors to do, done to their entries.

A remedy that has a condition ("if clients call the host by its name") is held against the calls that meet it.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.resources.hosts import canonical_host
from app.core.resources.service_entry import HTTP_FAMILY, TLS_FAMILY
from app.core.rules.resolution import DYNAMIC_PROTOCOLS
from tests.harm.calls import Pair
from tests.harm.envoy import ELSEWHERE
from tests.harm.protocol import Manifest, Proxy
from tests.harm.rule import Counts, every_call

Edit = Callable[[dict[str, Any]], bool]
"""Changes a spec; says whether the remedy is one for this entry."""


@dataclass(frozen=True)
class Remedy:
    """One thing that a finding tells an author to do; `says` is how its text begins."""

    codes: tuple[str, ...]
    says: str
    edit: Edit
    counts: Callable[[dict[str, Any]], Counts] = lambda _spec: every_call
    """The calls that the remedy is for, given the spec as it is after the edit."""
    beside: tuple[Manifest, ...] = ()
    together: Callable[[list[Manifest]], list[Manifest]] | None = None
    """What the remedy makes of the entries that share a host, before the edit of each; None: it is for the first."""

    def followed(self, cluster: Sequence[Manifest]) -> list[Manifest] | None:
        """Return the first entry, and what is beside it, as the author would write it; None if it is not for it."""
        edited = copy.deepcopy([*cluster])
        written = self.together(edited) if self.together else edited[:1]
        rest = copy.deepcopy([*([] if self.together else edited[1:]), *self.beside])
        return [*written, *rest] if all(self.edit(one["spec"]) for one in written) else None


def _named(port: dict[str, Any]) -> bool:
    return str(port.get("protocol", "")).upper() in HTTP_FAMILY | TLS_FAMILY


def _by_name(spec: dict[str, Any]) -> Counts:
    hosts = {canonical_host(host) for host in spec["hosts"]}

    def counts(_proxy: Proxy, pair: Pair) -> bool:
        return pair.host in hosts and pair.before.address in {ELSEWHERE, "127.0.0.1"}

    return counts


def _at_its_addresses(spec: dict[str, Any]) -> Counts:
    return at_addresses(endpoint["address"] for endpoint in spec["endpoints"])


def at_addresses(addresses: Iterable[str]) -> Counts:
    """Connections to some addresses are what counts."""
    dialled = {*addresses}
    return lambda _proxy, pair: pair.before.address in dialled


def _passed_through(_spec: dict[str, Any]) -> Counts:
    return lambda proxy, _pair: not proxy.labels


def _only_to_the_host(spec: dict[str, Any]) -> Counts:
    hosts = {canonical_host(host) for host in spec["hosts"]}
    return lambda _proxy, pair: pair.host in hosts


def _resolve(spec: dict[str, Any]) -> bool:
    for name in ("addresses", "endpoints"):
        spec.pop(name, None)
    spec["resolution"] = "DNS"
    return True


def _resolve_named(spec: dict[str, Any]) -> bool:
    return _resolve(spec) and all(map(_named, spec["ports"]))


def _joined(entries: list[Manifest]) -> list[Manifest]:
    """Write entries as one."""
    return _alike(entries)[:1]


def _alike(entries: list[Manifest]) -> list[Manifest]:
    """Give entries the same ports."""
    ports = {port["number"]: port for one in entries for port in one["spec"]["ports"]}
    for one in entries:
        one["spec"]["ports"] = copy.deepcopy([*ports.values()])
        one["metadata"].pop("annotations", None)
    return entries


def _resolve_one(spec: dict[str, Any]) -> bool:
    """Resolve the host, which is the only one: Istio rejects DNS for several hosts with a port that names none."""
    return _resolve(spec) and len(spec["hosts"]) == 1


def _static(spec: dict[str, Any]) -> bool:
    addresses = spec.get("addresses", [])
    if len(addresses) > 1 or any("/" in address for address in addresses):
        return False
    spec.setdefault("endpoints", [{"address": address} for address in addresses])
    spec["resolution"] = "STATIC"
    return True


def _full_names(spec: dict[str, Any]) -> bool:
    spec["hosts"] = [
        host.replace("*", "some", 1) if "." in host else f"{host}.corp.example.com" for host in spec["hosts"]
    ]
    return True


def _dynamic(spec: dict[str, Any]) -> bool:
    for port in spec["ports"]:
        port["protocol"] = {"HTTPS": "TLS"}.get(port["protocol"], port["protocol"])
    spec["resolution"] = "DYNAMIC_DNS"
    fits = all(port["protocol"] in DYNAMIC_PROTOCOLS for port in spec["ports"])
    external = spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL"
    return fits and external and all(host.startswith("*") for host in spec["hosts"])


def _speak_tls(spec: dict[str, Any]) -> bool:
    for port in spec["ports"]:
        port["protocol"] = port["protocol"] if _named(port) else "TLS"
    return True


def _remove_opaque(spec: dict[str, Any]) -> bool:
    spec["ports"] = [port for port in spec["ports"] if _named(port)]
    return True


def _select(spec: dict[str, Any]) -> bool:
    spec["resolution"] = "STATIC"
    return True


def _select_nothing(spec: dict[str, Any]) -> bool:
    return spec.pop("workloadSelector", None) is not None


WORKLOAD: Manifest = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "WorkloadEntry",
    "metadata": {"name": "vm", "namespace": "team"},
    "spec": {"address": ELSEWHERE, "labels": {"app": "vm"}},
}
"""What an application dials, and what a workloadSelector picks."""

REMEDIES = (
    Remedy(("SEG005", "SEG010"), "List each host by its full name", _full_names, _by_name),
    Remedy(("SEG005", "SEG010"), "write resolution: DYNAMIC_DNS", _dynamic),
    Remedy(("SEG006", "SEG018"), "remove addresses and write resolution: DNS", _resolve, _by_name),
    Remedy(("SEG006", "SEG018"), "write resolution: STATIC with the address as endpoint", _static, _at_its_addresses),
    Remedy(("SEG007",), "Write protocol HTTP or TLS for the port", _speak_tls, _only_to_the_host),
    Remedy(("SEG007",), "remove the port", _remove_opaque, _passed_through),
    Remedy(("SEG008",), "Write resolution: STATIC", _select, beside=(WORKLOAD,)),
    Remedy(("SEG008",), "remove the workloadSelector", _select_nothing),
    Remedy(("SEG009",), "Write the full name", _full_names, _by_name),
    Remedy(("SEG017",), "Remove the port that names no host", _remove_opaque, _passed_through),
    Remedy(("SEG017",), "write resolution: DNS", _resolve_one, _only_to_the_host),
    Remedy(("SEG019",), "Write resolution: STATIC", _static),
    Remedy(("SEG019",), "remove endpoints and write resolution: DNS", _resolve),
    Remedy(("SEG040", "SEG051"), "Write the entries as one", _resolve_named, together=_joined),
    Remedy(("SEG040",), "give all of them the same resolution and ports", _resolve_named, together=_alike),
)
