"""The rule itself: what it finds when it is broken by hand, and what it lets pass."""

import copy
from typing import Any

import pytest

from app.core.policy.model import API_VERSION, KIND, GuardPolicy
from app.core.policy.reader import parse_policy
from tests.harm.facts import Facts
from tests.harm.generator import Generator, GeneratorError
from tests.harm.guarded import World, change
from tests.harm.protocol import Manifest, Proxy, Request
from tests.harm.rule import Harm
from tests.harm.trial import Mesh, Trial, hold

HOST = "api.example.com"
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TLS = {"number": 443, "name": "tls", "protocol": "TLS"}
TCP = {"number": 22, "name": "tcp", "protocol": "TCP"}
GRPC = {"number": 50051, "name": "grpc", "protocol": "GRPC"}
RECIPE = {"attempts": 3, "perTryTimeout": "2s", "retryOn": "gateway-error,connect-failure,refused-stream,5xx"}


def entry(*ports: dict[str, Any], name: str = "api", namespace: str = "team", **spec: Any) -> Manifest:
    return made("ServiceEntry", name, namespace, hosts=[HOST], location="MESH_EXTERNAL", ports=list(ports), **spec)


def routing(*http: dict[str, Any], namespace: str = "team", **spec: Any) -> Manifest:
    return made("VirtualService", "routing", namespace, hosts=[HOST], http=list(http), **spec)


def to(port: int, *, host: str = HOST, timeout: str = "30s", match: bool = True, **retries: Any) -> dict[str, Any]:
    return {
        **({"match": [{"port": port}]} if match else {}),
        "route": [{"destination": {"host": host, "port": {"number": port}}}],
        **({"timeout": timeout} if timeout else {}),
        "retries": {**RECIPE, **retries},
    }


def made(kind: str, name: str, namespace: str, **spec: Any) -> Manifest:
    version = "networking.istio.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def resolved(manifest: Manifest, resolution: str = "DNS") -> Manifest:
    return {**copy.deepcopy(manifest), "spec": {**manifest["spec"], "resolution": resolution}}


def policy(**given: Any) -> GuardPolicy:
    return parse_policy({"apiVersion": API_VERSION, "kind": KIND, **given})


def found(
    generator: Generator, before: list[Manifest], after: list[Manifest], *, tenancy: bool = False, **given: Any
) -> list[Harm]:
    stored = change(before, policy(), World.REPORTED).before
    trial = Trial(generator, stored, after, Facts.read(stored, policy(**given)), tenancy=tenancy)
    compared = trial.compare()
    return [*compared.rejections(), *trial.persistent(compared)]


def kinds(harms: list[Harm]) -> set[str]:
    return {harm.kind for harm in harms}


OTHER = made(
    "ServiceEntry",
    "other",
    "team",
    hosts=["other.example.com"],
    location="MESH_EXTERNAL",
    ports=[HTTP],
    resolution="DNS",
)
EGRESS = made(
    "ServiceEntry",
    "egress",
    "team",
    hosts=["egress.example.net"],
    location="MESH_INTERNAL",
    ports=[HTTP],
    resolution="STATIC",
    endpoints=[{"address": "10.9.9.9"}],
)

BROKEN = {
    "a TCP port that is resolved": ([entry(TCP)], [resolved(entry(TCP))], "elsewhere"),
    "a TCP port that is resolved, with an address": (
        [entry(TCP, addresses=["192.0.2.1"])],
        [resolved(entry(TCP, addresses=["192.0.2.1"]))],
        "elsewhere",
    ),
    "an HTTP port at an address that is resolved": (
        [entry(HTTP, addresses=["192.0.2.1"])],
        [resolved(entry(HTTP, addresses=["192.0.2.1"]))],
        "elsewhere",
    ),
    "a TLS port at an address that is resolved": (
        [entry(TLS, addresses=["192.0.2.1"])],
        [resolved(entry(TLS, addresses=["192.0.2.1"]))],
        "elsewhere",
    ),
    "one of two entries of a host that is resolved": (
        [entry(TLS), entry({**TLS, "number": 8443}, name="b")],
        [resolved(entry(TLS)), entry({**TLS, "number": 8443}, name="b")],
        "no-cluster",
    ),
    "an entry that is gone, for sidecars that reach what is registered": (
        [resolved(entry(TLS)), OTHER],
        [OTHER],
        "elsewhere",
    ),
    "a port that is led to another": (
        [resolved(entry(HTTP, {**HTTP, "number": 8080, "name": "b"}))],
        [resolved(entry(HTTP, {**HTTP, "number": 8080, "name": "b"})), routing(to(80, match=False))],
        "elsewhere",
    ),
    "a port 80 that no entry has, and that is led to another": (
        [resolved(entry({**HTTP, "number": 8080})), OTHER],
        [resolved(entry({**HTTP, "number": 8080})), OTHER, routing(to(8080, match=False))],
        "elsewhere",
    ),
    "a route that is led to a cluster that a namespace lacks": (
        [resolved(entry(HTTP, exportTo=["."])), {**OTHER, "metadata": {"name": "other", "namespace": "beta"}}],
        [
            resolved(entry(HTTP, exportTo=["."])),
            {**OTHER, "metadata": {"name": "other", "namespace": "beta"}},
            routing(to(80)),
        ],
        "no-cluster",
    ),
    "a stream that is cut": (
        [resolved(entry(GRPC))],
        [resolved(entry(GRPC)), routing(to(50051, retryOn=f"{RECIPE['retryOn']},unavailable,cancelled"))],
        "stream-deadline",
    ),
    "a stream whose first answer is waited for": (
        [resolved(entry(GRPC))],
        [resolved(entry(GRPC)), routing(to(50051, timeout="", retryOn=f"{RECIPE['retryOn']},unavailable,cancelled"))],
        "stream-deadline",
    ),
    "a call that is retried no more on the statuses of gRPC": (
        [resolved(entry(GRPC))],
        [resolved(entry(GRPC)), routing(to(50051, timeout=""))],
        "conditions",
    ),
    "a request that is retried no more on connections that fail": (
        [resolved(entry(HTTP))],
        [resolved(entry(HTTP)), routing(to(80, retryOn="retriable-4xx"))],
        "conditions",
    ),
    "a deadline that no policy sets": (
        [resolved(entry(HTTP))],
        [resolved(entry(HTTP)), routing(to(80, timeout="1s"))],
        "deadline",
    ),
    "retries that are turned off": (
        [resolved(entry(HTTP))],
        [
            resolved(entry(HTTP)),
            routing({"route": [{"destination": {"host": HOST}}], "timeout": "30s", "retries": {"attempts": 0}}),
        ],
        "retries",
    ),
    "requests that are led past an egress gateway": (
        [resolved(entry(HTTP)), EGRESS, routing(to(80, host="egress.example.net", timeout="7s"), namespace="beta")],
        [
            resolved(entry(HTTP)),
            EGRESS,
            routing(to(80, host="egress.example.net"), namespace="beta"),
            made("VirtualService", "ours", "team", hosts=[HOST], http=[to(80)], exportTo=["."]),
        ],
        "routes",
    ),
    "requests of which only a part has a route": (
        [resolved(entry(HTTP))],
        [resolved(entry(HTTP)), routing({**to(80), "match": [{"port": 80, "uri": {"prefix": "/v1"}}]})],
        "no-route",
    ),
    "requests that are rewritten": (
        [resolved(entry(HTTP))],
        [resolved(entry(HTTP)), routing({**to(80), "rewrite": {"authority": "x.example.com"}})],
        "settings",
    ),
    "connections that are encrypted": (
        [resolved(entry(HTTP))],
        [
            resolved(entry(HTTP)),
            made("DestinationRule", "tls", "team", host=HOST, trafficPolicy={"tls": {"mode": "SIMPLE"}}),
        ],
        "tls",
    ),
    "connections that are closed early": (
        [resolved(entry(TLS))],
        [
            resolved(entry(TLS)),
            made(
                "DestinationRule",
                "pool",
                "team",
                host=HOST,
                trafficPolicy={"connectionPool": {"tcp": {"maxConnectionDuration": "5s"}}},
            ),
        ],
        "pool",
    ),
    "connections of which there may be one only": (
        [resolved(entry(HTTP))],
        [
            resolved(entry(HTTP)),
            made(
                "DestinationRule",
                "pool",
                "team",
                host=HOST,
                trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 1}}},
            ),
        ],
        "pool",
    ),
    "an object that Istio rejects": (
        [resolved(entry(HTTP))],
        [resolved(entry(HTTP)), routing(to(80), exportTo=["~"])],
        "rejected",
    ),
    "an entry that Istio rejects": ([entry(TCP)], [resolved(entry(TCP, addresses=["192.0.2.0/24"]))], "rejected"),
    "an entry that Istio rejected": (
        [entry(HTTP, endpoints=[{"address": "10.1.1.1"}])],
        [resolved(entry(HTTP, endpoints=[{"address": "10.1.1.1"}]))],
        "accepted",
    ),
    "two entries of a host with addresses of their own": (
        [entry(TLS), entry({**TLS, "number": 8443}, name="b")],
        [resolved(entry(TLS)), resolved(entry({**TLS, "number": 8443}, name="b"))],
        "no-cluster",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_rule_finds(generator: Generator, name: str) -> None:
    before, after, kind = BROKEN[name]
    harms = found(generator, before, after)
    assert kind in kinds(harms)
    assert all(str(harm).isprintable() and len(str(harm)) > 20 for harm in harms)


SOUND = {
    "nothing": ([entry(HTTP, TLS, TCP)], [entry(HTTP, TLS, TCP)]),
    "ports that name their host and are resolved": ([entry(HTTP, TLS)], [resolved(entry(HTTP, TLS))]),
    "routes of the recipe": ([entry(HTTP)], [resolved(entry(HTTP)), routing(to(80))]),
    "routes of the recipe without a match": ([entry(HTTP)], [resolved(entry(HTTP)), routing(to(80, match=False))]),
    "a target port that stays": (
        [entry({**HTTP, "targetPort": 8080})],
        [resolved(entry({**HTTP, "targetPort": 8080})), routing(to(80))],
    ),
    "a stream without a deadline": (
        [entry(GRPC)],
        [
            resolved(entry(GRPC)),
            routing(
                {
                    "route": [{"destination": {"host": HOST, "port": {"number": 50051}}}],
                    "retries": {"attempts": 3, "retryOn": "5xx,unavailable,cancelled"},
                }
            ),
        ],
    ),
    "an entry that had no endpoint": ([resolved(entry(HTTP, TLS), "STATIC")], [resolved(entry(HTTP, TLS))]),
}


@pytest.mark.parametrize("name", SOUND)
def test_the_rule_lets_pass(generator: Generator, name: str) -> None:
    before, after = SOUND[name]
    assert [str(harm) for harm in found(generator, before, after, tenancy=True)] == []


def test_a_pool_passes_only_where_the_policy_asks_for_it(generator: Generator) -> None:
    pool = {"connectionPool": {"http": {"idleTimeout": "50s"}}}
    before, rule = [resolved(entry(HTTP))], made("DestinationRule", "ours", "team", host=HOST, trafficPolicy=pool)
    assert kinds(found(generator, before, [*before, rule])) == {"pool"}
    assert found(generator, before, [*before, rule], destinationRule={"enabled": True}) == []


def test_a_namespace_that_did_not_agree_keeps_its_routes(generator: Generator) -> None:
    before = [resolved(entry(HTTP)), resolved(entry(HTTP, namespace="reports"))]
    after = [*before, routing(to(80))]
    exempt = {"namespaces": ["reports"]}
    assert found(generator, before, after, exemptions=exempt) == []
    assert kinds(found(generator, before, after, tenancy=True, exemptions=exempt)) == {"reach"}


def test_a_neighbour_tunes_nothing(generator: Generator) -> None:
    tuned = entry(HTTP, namespace="tenant")
    tuned["metadata"]["annotations"] = {"serviceentry-guard.io/timeout": "10ms"}
    before = [resolved(entry(HTTP)), resolved(tuned)]
    after = [*before, routing(to(80, timeout="10ms"), namespace="tenant")]
    assert found(generator, before, after) == []
    assert "deadline" in kinds(found(generator, before, after, tenancy=True))


def test_a_foreign_object_with_our_name_is_never_overwritten(generator: Generator) -> None:
    others = made("VirtualService", HOST, "team", hosts=["x.example.com"], gateways=["a/b"], http=[to(80)])
    outcome = hold(generator, [resolved(entry(HTTP)), others], policy())
    places = [(one["kind"], one["metadata"]["name"]) for one in outcome.change.emitted]
    assert places
    assert ("VirtualService", HOST) not in places


def test_a_revision_counts_only_for_its_own_istiod(generator: Generator) -> None:
    labelled = resolved(entry(HTTP))
    labelled["metadata"]["labels"] = {"istio.io/rev": "canary"}
    for revision in ("canary", "default"):
        outcome = hold(generator, [labelled, OTHER], policy(), mesh=Mesh(revision=revision))
        assert [str(harm) for harm in outcome.harms] == []


def test_the_generator_names_what_istio_rejects_and_leaves_it_out(generator: Generator) -> None:
    asked = Request(manifests=[entry(HTTP), routing(to(80), exportTo=["~"])], proxies=[Proxy(namespace="team")])
    (answer,) = generator.ask(asked)
    assert [(one.index, one.kind, one.name) for one in answer.rejected] == [(1, "VirtualService", "routing")]
    assert "exportTo" in answer.rejected[0].reason
    (routes,) = answer.proxies[0].routes.values()
    assert [route.timeout for one in routes for route in one.routes] == [0, 0]


def test_the_generator_says_why_it_cannot_answer(generator: Generator) -> None:
    twice = [entry(HTTP), entry(HTTP)]
    with pytest.raises(GeneratorError, match="already exists"):
        generator.ask(Request(manifests=twice, proxies=[]))
    assert len(generator.ask(*[Request(manifests=[entry(HTTP)], proxies=[Proxy(namespace="a")])] * 9)) == 9


def test_equal_requests_get_equal_answers(generator: Generator) -> None:
    several = entry(HTTP, TLS, addresses=["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    asked = Request(
        manifests=[several, OTHER], proxies=[Proxy(namespace="team"), Proxy(namespace="b", captures_dns=True)]
    )
    first, *others = generator.ask(*[asked] * 8)
    assert all(one.proxies == first.proxies for one in others)
