"""Hypothesis strategies: clusters in which entries meet each other, and others' routing, in every way that counts."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from app.core.policy.model import API_VERSION, KIND, GuardPolicy
from app.core.policy.reader import parse_policy
from tests.harm.protocol import Manifest

NAMESPACES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
"""A cluster has two to six of them."""
Spaces = tuple[str, ...]
HOSTS = ("api.example.com", "api.example.com", "db.example.com", "files.example.org")
WILDCARDS = ("*.example.com", "*.example.org")
PORTS = (80, 443, 8080, 3306)
HTTP = ("HTTP", "HTTP", "HTTP2", "GRPC", "GRPC-WEB")
NAMED = (*HTTP, "TLS", "HTTPS", "TLS")
ANY = (*NAMED, *NAMED, "TCP", "TCP", "MONGO", "HTTP_PROXY", "")
AGES = st.integers(0, 8).map(lambda month: f"202{month // 4 + 1}-0{month % 4 + 1}-01T00:00:00Z")
"""Times of which some are the same: names decide then."""
EGRESS = "egress.istio-egress.svc.cluster.local"
ANNOTATIONS = (
    {"exempt": "its vendor pins the addresses"},
    {"timeout": "5s", "attempts": "1"},
    {"retry-on": "reset,connect-failure"},
    {"virtual-service": "Disabled"},
)


def egress() -> list[Manifest]:
    """Return what stands for an egress gateway: a host inside of the mesh that has an address."""
    spec = {
        "hosts": [EGRESS],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [
            {"number": 80, "name": "http", "protocol": "HTTP"},
            {"number": 443, "name": "tls", "protocol": "TLS"},
        ],
        "endpoints": [{"address": "10.9.9.9"}],
    }
    return [_object("ServiceEntry", "egress", "istio-egress", spec, "2020-01-01T00:00:00Z")]


def _object(kind: str, name: str, namespace: str, spec: Any, created: str) -> Manifest:
    version = "gateway.networking.k8s.io/v1" if kind == "HTTPRoute" else "networking.istio.io/v1"
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


@st.composite
def entries(draw: st.DrawFn, number: int, spaces: Spaces, usual: Mapping[int, str], target: int) -> Manifest:
    """A ServiceEntry, such as people write them; mostly with the protocols that a port usually has."""
    protocols = st.sampled_from(draw(st.sampled_from([HTTP, NAMED, NAMED, ANY, ("TCP", "MONGO", "")])))
    own = draw(st.sampled_from([False, False, True]))
    numbers = draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=3, unique=True))
    spec: dict[str, Any] = {
        "hosts": draw(st.lists(st.sampled_from(_hosts(draw)), min_size=1, max_size=2, unique=True)),
        "ports": [
            _port(each, draw(protocols) if own else usual[each], target if each == 80 else 0) for each in numbers
        ],
        "location": draw(st.sampled_from(["MESH_EXTERNAL", "MESH_EXTERNAL", "MESH_EXTERNAL", "MESH_INTERNAL"])),
    }
    resolution = draw(st.sampled_from(["NONE", "NONE", None, "DNS", "DNS", "DNS_ROUND_ROBIN", "STATIC"]))
    spec |= {"resolution": resolution} if resolution else {}
    spec |= draw(_extras(resolution))
    entry = _object("ServiceEntry", f"entry-{number}", draw(st.sampled_from(spaces)), spec, draw(AGES))
    chosen = draw(st.sampled_from([{}] * 8 + [*ANNOTATIONS]))
    entry["metadata"]["annotations"] = {f"serviceentry-guard.io/{name}": text for name, text in chosen.items()}
    entry["metadata"]["labels"] = draw(
        st.sampled_from([{}, {}, {}, {}, {"networking.istio.io/enable-autoallocate-ip": "false"}])
    )
    return entry


def _hosts(draw: st.DrawFn) -> tuple[str, ...]:
    return draw(st.sampled_from([HOSTS, HOSTS, HOSTS, HOSTS, HOSTS, WILDCARDS]))


def _port(number: int, protocol: str, target: int) -> dict[str, Any]:
    optional = {name: value for name, value in (("protocol", protocol), ("targetPort", target)) if value}
    return {"number": number, "name": f"p{number}", **optional}


@st.composite
def _extras(draw: st.DrawFn, resolution: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    exported = draw(st.sampled_from([None, None, None, ["."], ["*"], [".", "beta"], ["gamma"], ["~"]]))
    spec |= {"exportTo": exported} if exported else {}
    addressed = draw(st.sampled_from([None] * 6 + [["192.0.2.1"], ["192.0.2.1", "192.0.2.2"], ["192.0.2.0/24"]]))
    spec |= {"addresses": addressed} if addressed else {}
    if resolution == "STATIC" and draw(st.booleans()):
        spec["endpoints"] = [{"address": "198.51.100.1"}, {"address": "198.51.100.2"}]
    return spec


@st.composite
def virtual_services(draw: st.DrawFn, number: int, spaces: Spaces) -> Manifest:
    """A VirtualService of others, of which some decide a host for sidecars and some do not."""
    host = draw(st.sampled_from([*HOSTS, *WILDCARDS, "*", "API.example.com"]))
    spec: dict[str, Any] = {"hosts": [host], **draw(_routing(host))}
    exported = draw(st.sampled_from([None, None, ["."], ["*"], [".", "beta"], ["alpha"]]))
    spec |= {"exportTo": exported} if exported else {}
    name = draw(st.sampled_from([f"others-{number}", f"others-{number}", "api.example.com", "wildcard.example.com"]))
    namespace = draw(st.sampled_from([*spaces, "istio-system", "istio-egress"]))
    return _object("VirtualService", name, namespace, spec, draw(AGES))


def _routing(host: str) -> st.SearchStrategy[dict[str, Any]]:
    """What a VirtualService has beside its hosts."""
    itself = "api.example.com" if host.startswith("*") else host
    away = [{"destination": {"host": EGRESS, "port": {"number": 80}}}]
    home = [{"destination": {"host": itself, "port": {"number": 80}}}]
    tls = [{"match": [{"port": 443, "sniHosts": [itself]}], "route": [{"destination": {"host": itself}}]}]
    both = [{"match": [{"gateways": ["mesh"]}], "route": away}, {"match": [{"gateways": ["a/b"]}], "route": home}]
    return st.sampled_from(
        [
            {"http": [{"route": away}]},
            {"http": [{"route": home}]},
            {"http": [{"route": home, "timeout": "7s", "retries": {"attempts": 1, "retryOn": "reset"}}]},
            {"http": [{"match": [{"uri": {"prefix": "/v1"}}], "route": away}, {"route": home}]},
            {"http": [{"match": [{"port": 8080}], "route": away}]},
            {"http": [{"match": [{"sourceNamespace": "beta"}], "route": away}, {"route": home}]},
            {"http": [{"match": [{"sourceLabels": {"app": "x"}}], "route": away}]},
            {"http": [{"fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}, "route": home}]},
            {"http": [{"redirect": {"authority": "new.example.com"}}]},
            {"http": [{"match": [{"uri": {"prefix": "/d"}}], "delegate": {"name": "d", "namespace": "alpha"}}]},
            {"gateways": ["mesh", "a/b"], "http": both},
            {"gateways": ["a/b"], "http": [{"route": away}]},
            {"tls": tls},
            {"tls": tls, "http": [{"route": away}]},
            {"tcp": [{"route": [{"destination": {"host": EGRESS, "port": {"number": 443}}}]}]},
        ]
    )


@st.composite
def destination_rules(draw: st.DrawFn, number: int) -> Manifest:
    """A DestinationRule of others."""
    host = draw(st.sampled_from([*HOSTS, *WILDCARDS]))
    policy = draw(
        st.sampled_from(
            [
                {"tls": {"mode": "SIMPLE", "sni": "x.example.com"}},
                {"connectionPool": {"http": {"maxRequestsPerConnection": 7}}},
                {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}]},
                {"loadBalancer": {"simple": "RANDOM"}},
            ]
        )
    )
    spec: dict[str, Any] = {"host": host, "trafficPolicy": policy}
    exported = draw(st.sampled_from([None, None, ["."], ["beta"]]))
    spec |= {"exportTo": exported} if exported else {}
    name = draw(st.sampled_from([f"others-{number}", "api.example.com"]))
    return _object("DestinationRule", name, draw(st.sampled_from(NAMESPACES)), spec, draw(AGES))


@st.composite
def http_routes(draw: st.DrawFn, number: int) -> Manifest:
    """An HTTPRoute whose parent is a ServiceEntry, which may not be there."""
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": f"entry-{draw(st.integers(0, 2))}"}
    backend = {"group": "networking.istio.io", "kind": "Hostname", "name": EGRESS, "port": 80}
    spec = {"parentRefs": [parent], "rules": [{"backendRefs": [backend]}]}
    return _object("HTTPRoute", f"route-{number}", draw(st.sampled_from(NAMESPACES)), spec, draw(AGES))


@st.composite
def clusters(draw: st.DrawFn, routes: bool = False) -> list[Manifest]:
    """Objects of a cluster; with `routes`, HTTPRoutes among them."""
    spaces = NAMESPACES[: draw(st.integers(2, len(NAMESPACES)))]
    count = draw(st.integers(1, 4)) if len(spaces) < 4 else draw(st.integers(3, 6))
    target = draw(st.sampled_from([0, 0, 443]))
    usual = draw(st.fixed_dictionaries({port: st.sampled_from(ANY) for port in PORTS}))
    objects = [draw(entries(number, spaces, usual, target)) for number in range(count)]
    objects += [draw(virtual_services(number, spaces)) for number in range(draw(st.integers(0, 2)))]
    objects += [draw(destination_rules(number)) for number in range(draw(st.sampled_from([0, 0, 0, 1])))]
    objects += [draw(http_routes(number)) for number in range(draw(st.integers(1, 2)) if routes else 0)]
    unique = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one for one in objects}
    return [*egress(), *unique.values()]


POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"resolution": {"unfixable": "Warn"}},
    {"resolution": {"wildcards": "DynamicDNS"}},
    {"resolution": {"static": "Deny"}},
    {"destinationRule": {"enabled": True}},
    {"destinationRule": {"enabled": True, "tlsOrigination": True, "connectionPool": {"tcp": {"tcpKeepalive": {}}}}},
    {"destinationRule": {"enabled": True, "connectionPool": {"tcp": {"maxConnectionDuration": "5m"}}}},
    {"virtualService": {"unsafeMethods": {"retryOn": ["connect-failure"]}}},
    {"virtualService": {"retries": {"attempts": 5, "perTryTimeout": "1s", "retryOn": ["reset", "503"]}}},
    {"resolution": {"splitHosts": "DNS"}},
    {"virtualService": {"enabled": False}},
    {"exemptions": {"namespaces": ["beta"]}},
    {"exemptions": {"annotation": "Allow"}},
    {"namespaces": [{"match": ["beta"], "mode": "Warn"}]},
    {"namespaces": [{"match": ["beta"], "virtualService": {"timeout": "9s"}}]},
    {"mode": "Warn", "namespaces": [{"match": ["alpha"], "mode": "Enforce"}]},
    {"mode": "Warn", "namespaces": [{"match": ["alpha", "gamma", "e*"], "mode": "Enforce"}]},
    {
        "exemptions": {"annotation": "Allow", "namespaces": ["delta"]},
        "namespaces": [{"match": ["beta"], "mode": "Off"}],
    },
    {"virtualService": {"reach": "Namespace"}},
    {"virtualService": {"overrides": {"reach": "Entry"}}},
    {"virtualService": {"yieldTo": ["istio-*"]}},
    {"scope": {"excludedNamespaces": ["gamma"]}},
    {"scope": {"locations": ["MESH_EXTERNAL", "MESH_INTERNAL"]}},
)


def policies() -> st.SearchStrategy[GuardPolicy]:
    """A policy that differs from the built-in one by what counts for traffic."""
    return st.sampled_from(POLICIES).map(lambda given: parse_policy({"apiVersion": API_VERSION, "kind": KIND, **given}))
