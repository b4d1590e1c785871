"""Sequences of operations: what teams, platform teams, other controllers and a bad day do."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.builders import HTTP, HTTPS, TCP, route
from tests.model import operations as do
from tests.model.faults import ENDS, Fault, Kind
from tests.model.policies import POLICIES
from tests.model.replica import QUEUES
from tests.model.world import TEAMS, WATCHED

HTTP_8080 = {"number": 8080, "name": "http-alt", "protocol": "HTTP"}
GRPC = {"number": 9000, "name": "grpc", "protocol": "GRPC"}
NAMES = ("api.example.com", "one", "two")
"""Names of objects of others too: the first is that of an emitted object."""
PARTS = (*WATCHED, "lease", "policy", "siblings", "events", *QUEUES)
PREFIX = "serviceentry-guard.io/"

namespaces, names = st.sampled_from(TEAMS), st.sampled_from(NAMES)
hosts = st.sampled_from(
    [
        *(["api.example.com"], ["api.example.com"], ["API.example.com."], ["b.example.com"], ["*.example.com"]),
        *(["api.example.com", "b.example.com"], ["a.test", "b.example.com", "api.example.com"]),
        *(["reviews.default.svc.cluster.local"], ["localhost"]),
    ]
)
ports = st.sampled_from([[HTTP], [HTTP], [HTTP, HTTPS], [HTTPS], [TCP], [HTTP_8080], [GRPC, HTTP]])
shapes: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        *({"resolution": "DNS"}, {"resolution": "DNS"}, {"resolution": "NONE"}, {}, {"resolution": "DNS_ROUND_ROBIN"}),
        {"resolution": "STATIC", "endpoints": [{"address": "192.0.2.9"}]},
        {"resolution": "NONE", "addresses": ["192.0.2.0/24"]},
        {"resolution": "DNS", "location": "MESH_INTERNAL"},
    ]
)
visibility = st.sampled_from([{}, {}, {"exportTo": ["."]}, {"exportTo": ["*"]}, {"exportTo": ["alpha", "beta"]}])
annotations = st.sampled_from(
    [
        *({}, {}, {}, {f"{PREFIX}exempt": "it moves"}, {f"{PREFIX}attempts": "5"}, {f"{PREFIX}attempts": "many"}),
        *({f"{PREFIX}virtual-service": "Disabled"}, {f"{PREFIX}timeout": "5s"}),
    ]
)
labels = st.sampled_from(
    [*({}, {}, {}, {}), {"istio.io/use-waypoint": "wp"}, {"istio.io/rev": "canary"}, {"istio.io/use-waypoint": "none"}]
)
waypoints = st.sampled_from(
    [{}, {"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "wp"}, {"istio-injection": "enabled"}]
)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a ServiceEntry that Istio's schema takes; the policy may refuse it."""
    spec: dict[str, Any] = {"location": "MESH_EXTERNAL", "hosts": draw(hosts), "ports": draw(ports)}
    return {
        "metadata": {"annotations": draw(annotations), "labels": draw(labels)},
        "spec": {**spec, **draw(shapes), **draw(visibility)},
    }


@st.composite
def routes(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a VirtualService of others."""
    spec = draw(st.sampled_from([{}, {}, {"exportTo": ["."]}, {"gateways": ["mesh"]}, {"gateways": ["ingress"]}]))
    named = draw(hosts)
    return {"metadata": {}, "spec": {"hosts": named, "http": [route(named[0])], **spec}}


PUTS: Mapping[str, st.SearchStrategy[dict[str, Any]]] = {
    "ServiceEntry": entries(),
    "VirtualService": routes(),
    "DestinationRule": hosts.map(lambda found: {"metadata": {}, "spec": {"host": found[0]}}),
    "HTTPRoute": names.map(
        lambda name: {
            "metadata": {},
            "spec": {"parentRefs": [{"group": "networking.istio.io", "kind": "ServiceEntry", "name": name}]},
        }
    ),
}
put_entry = st.builds(do.Put, st.just("ServiceEntry"), namespaces, names, PUTS["ServiceEntry"])
put_other = st.one_of(
    [st.builds(do.Put, st.just(kind), namespaces, names, content) for kind, content in PUTS.items()][1:]
)
delete = st.builds(do.Delete, st.sampled_from(["ServiceEntry", *do.KINDS]), namespaces, names)
tamper = st.builds(
    do.Tamper,
    st.sampled_from(["VirtualService", "VirtualService", "DestinationRule", "ServiceEntry"]),
    st.integers(0, 3),
    st.sampled_from(sorted(do.WAYS)),
)
set_policy = st.builds(do.SetPolicy, st.integers(0, len(POLICIES) - 1))
label = st.builds(do.LabelNamespace, namespaces, waypoints)
pass_time = st.builds(do.Pass, st.sampled_from([0.5, 3.0, 11.0, 20.0, 70.0]))
run = st.builds(do.Run, st.integers(0, 1), st.sampled_from(PARTS))
restart = st.builds(do.Restart, st.integers(0, 1))
serve = st.builds(do.Serve, st.booleans())
others = st.one_of(put_entry, put_entry, put_other, delete, tamper, tamper, set_policy, label)
meanwhile = st.lists(st.one_of(others, run, run, pass_time), max_size=3).map(tuple)
kinds = st.sampled_from([kind for kind in Kind if kind not in ENDS] + [Kind.MEANWHILE] * 6 + [*ENDS])
faults = st.builds(Fault, st.integers(0, 12), kinds, st.sampled_from([1.0, 6.0, 12.0, 40.0]), meanwhile)
disturb = st.builds(do.Disturb, st.lists(faults, min_size=1, max_size=4).map(tuple))
rounds = st.just(do.Round())
compact = st.just(do.Compact())
sequences = st.lists(
    st.one_of(others, others, run, run, rounds, rounds, restart, disturb, disturb, pass_time), min_size=10, max_size=40
)
