"""Objects of others beside ours: which of them decide a host, and what is said of one that does."""

import json
import shlex
from typing import Any

import jsonpatch
import pytest

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key
from app.core.routes.observed import Leg, Observed
from app.core.routes.plan import Conflict, desired
from app.core.rules.findings import Finding
from tests.builders import HOST, entry, guard_policy, route, virtual_service

POLICY = guard_policy()
EGRESS = "egress.istio-system.svc.cluster.local"
RECIPE = {"attempts": 3, "perTryTimeout": "2s", "retryOn": "gateway-error,connect-failure,refused-stream,5xx"}
FOR_MESH, FOR_EDGE = {"gateways": ["mesh"]}, {"gateways": ["edge"]}


def parents(*given: dict[str, Any], namespace: str = "team") -> dict[str, Any]:
    """An HTTPRoute with some parents."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": namespace},
        "spec": {"parentRefs": list(given), "rules": [{"backendRefs": [{"name": "egress", "port": 80}]}]},
    }


def service_entry(**fields: Any) -> dict[str, Any]:
    """A reference to the ServiceEntry of the tests."""
    return {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "api", **fields}


class TestClaims:
    """The hosts that an object decides for sidecars, as istiod reads it."""

    @pytest.mark.parametrize(
        ("spec", "claims"),
        [
            ({}, (HOST,)),
            ({"hosts": ["API.example.com.", "*.Example.org"]}, (HOST, "*.example.org")),
            ({"gateways": ["mesh"]}, (HOST,)),
            ({"gateways": ["edge", "mesh"]}, (HOST,)),
            ({"gateways": []}, (HOST,)),
            ({"gateways": ["edge"]}, ()),
            ({"gateways": ["team/mesh"]}, ()),
            ({"hosts": ["*"]}, ()),
            ({"hosts": ["*", HOST]}, ()),
            ({"hosts": ["*"], "gateways": ["edge"]}, ()),
            ({"hosts": []}, ()),
            ({"exportTo": ["~"]}, ()),
            ({"exportTo": ["."]}, (HOST,)),
            ({"http": []}, ()),
            ({"http": None}, ()),
            ({"http": [], "tls": [{"match": [{"port": 443, "sniHosts": [HOST]}], "route": []}]}, ()),
            ({"http": [], "tcp": [{"route": [{"destination": {"host": HOST}}]}]}, ()),
            ({"tls": [{"match": [{"port": 443, "sniHosts": [HOST]}], "route": []}]}, (HOST,)),
            ({"http": [{"redirect": {"authority": "b.example.com"}}]}, (HOST,)),
            ({"http": [{"delegate": {"name": "d"}}]}, (HOST,)),
            ({"http": [route(HOST, match=[{"uri": {"prefix": "/"}}])]}, (HOST,)),
            ({"http": [route(HOST, match=[FOR_MESH])]}, (HOST,)),
            ({"http": [route(HOST, match=[FOR_EDGE])]}, ()),
            ({"http": [route(HOST, match=[{"gateways": ["edge", "mesh"]}])]}, (HOST,)),
            ({"http": [route(HOST, match=[FOR_EDGE, FOR_MESH])]}, (HOST,)),
            ({"http": [route(HOST, match=[FOR_EDGE, {"port": 80}])]}, (HOST,)),
            ({"http": [route(HOST, match=[FOR_EDGE]), route(HOST)]}, (HOST,)),
            ({"http": [route(HOST, match=[])]}, (HOST,)),
        ],
    )
    def test_of_a_virtual_service(self, spec: dict[str, Any], claims: tuple[str, ...]) -> None:
        assert Observed.parse(virtual_service(**spec)).claims == claims

    @pytest.mark.parametrize(("host", "claims"), [(HOST, (HOST,)), ("API.Example.com.", (HOST,)), ("", ()), (None, ())])
    def test_of_a_destination_rule(self, host: str | None, claims: tuple[str, ...]) -> None:
        manifest = {"kind": "DestinationRule", "metadata": {"name": "x"}, "spec": {"host": host}}
        assert Observed.parse(manifest).claims == claims

    @pytest.mark.parametrize(
        ("parent", "decides"),
        [
            (service_entry(), True),
            (service_entry(namespace="team"), True),
            (service_entry(namespace="other"), False),
            (service_entry(name="another"), False),
            (service_entry(kind="Hostname"), False),
            (service_entry(group="", kind="Service"), False),
            ({"name": "api"}, False),
        ],
    )
    def test_of_an_http_route_by_its_parents(self, parent: dict[str, Any], decides: bool) -> None:
        observed = Observed.parse(parents({"kind": "Gateway", "name": "edge"}, parent))
        assert observed.decides(HOST, {entry().key}) is decides
        assert observed.claims == ()

    def test_an_http_route_names_parents_of_its_own_namespace_unless_it_says_otherwise(self) -> None:
        assert not Observed.parse(parents(service_entry(), namespace="other")).decides(HOST, {entry().key})

    @pytest.mark.parametrize("manifest", [None, [], {}, {"kind": "VirtualService", "spec": {"http": {}, "hosts": 1}}])
    def test_an_object_with_wrong_types_claims_no_host(self, manifest: Any) -> None:
        assert Observed.parse(manifest).claims == ()

    def test_only_an_object_that_the_guard_emitted_is_managed(self) -> None:
        (emitted,) = desired([entry()], POLICY).objects
        ours = Observed.parse(emitted.manifest)
        assert (ours.managed, ours.legs, ours.fingerprint) == (True, (), emitted.fingerprint)
        assert not Observed.parse(virtual_service()).managed


class TestVisibility:
    """The namespaces whose sidecars see an object."""

    @pytest.mark.parametrize(
        ("export_to", "seen_in", "beyond"),
        [
            ([], {"team", "other", "third"}, True),
            (["*"], {"team", "other", "third"}, True),
            ([".", "*"], {"team", "other", "third"}, True),
            (["."], {"team"}, False),
            (["team"], {"team"}, False),
            (["other"], {"other"}, True),
            ([".", "other"], {"team", "other"}, True),
        ],
    )
    def test_follows_export_to(self, export_to: list[str], seen_in: set[str], beyond: bool) -> None:
        one = Observed.parse(virtual_service(exportTo=export_to))
        assert {name for name in ("team", "other", "third") if one.visible(name)} == seen_in
        assert one.visible_beyond("team") is beyond

    def test_an_object_of_another_namespace_is_visible_beyond_this_one(self) -> None:
        assert Observed.parse(virtual_service(namespace="other", exportTo=["."])).visible_beyond("team")
        assert not Observed.parse(virtual_service(namespace="other", exportTo=["team"])).visible_beyond("team")

    def test_an_http_route_beside_its_entry_is_seen_by_all_and_any_other_in_its_own_namespace_only(self) -> None:
        producer = Observed.parse(parents(service_entry()))
        assert producer.visible("team")
        assert producer.visible("third")
        assert producer.visible_beyond("team")
        consumer = Observed.parse(parents(service_entry(namespace="team"), namespace="other"))
        assert consumer.visible("other")
        assert not consumer.visible("team")
        assert not consumer.visible("third")
        assert consumer.visible_beyond("team")


class TestLegs:
    """The routes of an object: where each leads, and whether it repeats a request whose connection was reset."""

    @pytest.mark.parametrize(
        ("retries", "repeats"),
        [
            (None, False),
            ({}, False),
            ({"attempts": 3}, False),
            ({"attempts": 3, "retryOn": ""}, False),
            ({"attempts": 0, "retryOn": "5xx"}, False),
            ({"retryOn": "5xx"}, False),
            ({"attempts": 3, "retryOn": "connect-failure,refused-stream,unavailable,cancelled,503"}, False),
            ({"attempts": 3, "retryOn": "reset-before-request"}, False),
            ({"attempts": 1, "retryOn": "reset"}, True),
            ({"attempts": 1, "retryOn": "gateway-error"}, True),
            ({"attempts": 1, "retryOn": "connect-failure,5xx"}, True),
            (RECIPE, True),
        ],
    )
    def test_a_route_repeats_a_reset_by_its_attempts_and_conditions(self, retries: Any, repeats: bool) -> None:
        (leg,) = Observed.parse(virtual_service(http=[route(HOST, retries=retries)])).legs
        assert leg.retries is repeats

    def test_each_route_leads_to_its_destinations(self) -> None:
        routes = [route(EGRESS), route("API.Example.com.", "b.example.com", retries=RECIPE), {"redirect": {}}]
        assert Observed.parse(virtual_service(http=routes)).legs == (
            Leg(0, (EGRESS,), retries=False),
            Leg(1, (HOST, "b.example.com"), retries=True),
            Leg(2, (), retries=False),
        )

    def test_legs_are_the_routes_to_one_host_with_or_without_retries(self) -> None:
        routes = [route(EGRESS), route(HOST), route(HOST, retries=RECIPE), route("b.a", HOST, retries={"attempts": 2})]
        one = Observed.parse(virtual_service(http=routes))
        assert [(leg.index, leg.retries) for leg in one.legs_to(HOST)] == [(1, False), (2, True), (3, False)]
        assert [leg.index for leg in one.legs_to("b.a")] == [3]
        assert one.legs_to("c.a") == ()


def conflict(other: dict[str, Any], policy: GuardPolicy = POLICY, **spec: Any) -> Conflict:
    """The one conflict of an entry with an object of others."""
    (found,) = desired([entry(**spec)], policy, [Observed.parse(other)]).conflicts
    return found


def finding(other: dict[str, Any], policy: GuardPolicy = POLICY, **spec: Any) -> Finding:
    return conflict(other, policy, **spec).finding


def followed(other: dict[str, Any], remedy: str) -> dict[str, Any]:
    """The object after its owner ran the command that the remedy prints."""
    words = shlex.split(remedy.removeprefix("Add retries to it: "))
    meta = other["metadata"]
    assert words[:7] == ["kubectl", "-n", meta["namespace"], "patch", "virtualservice", meta["name"], "--type=json"]
    assert words[7] == "-p"
    assert len(words) == 9
    patched: dict[str, Any] = jsonpatch.apply_patch(other, json.loads(words[8]))
    return patched


class TestWhatIsSaid:
    """SEG021: who routes the host in place of ours, what that object lacks, and what to do about it."""

    LACKS = "its route to the host does not repeat a request whose connection was reset"
    REPEATS = "it repeats requests whose connection was reset"
    EGRESS_ROUTES = (
        route(EGRESS, match=[FOR_MESH]),
        route(HOST, match=[{"gateways": ["istio-system/egress"]}]),
    )

    def test_it_names_the_foreign_object_and_the_missing_one(self) -> None:
        found = finding(virtual_service())
        assert (found.code, found.path) == ("SEG021", "spec.hosts")
        assert found.other == ("VirtualService", Key("team", "theirs"))
        assert found.message == (
            f'VirtualService team/theirs already routes "{HOST}", so no VirtualService is emitted; {self.LACKS}'
        )

    def test_a_route_without_retries_is_answered_with_the_patch_that_adds_the_recipe(self) -> None:
        assert finding(virtual_service()).remedy == (
            "Add retries to it: kubectl -n team patch virtualservice theirs --type=json -p "
            '\'[{"op":"add","path":"/spec/http/0/retries","value":{"attempts":3,"perTryTimeout":"2s",'
            '"retryOn":"gateway-error,connect-failure,refused-stream,5xx"}}]\''
        )

    @pytest.mark.parametrize(
        "routes",
        [
            [route(HOST)],
            [route(HOST, retries={"attempts": 2})],
            [route(HOST, retries={"attempts": 2, "retryOn": "connect-failure", "perTryTimeout": "9s"})],
            [route(HOST, match=[{"uri": {"prefix": "/v1"}}]), route("b.a"), route(HOST)],
            list(EGRESS_ROUTES),
        ],
        ids=["none", "no conditions", "other conditions", "several", "through an egress gateway"],
    )
    def test_who_follows_the_remedy_has_retries_on_every_route_to_the_host_and_on_no_other(
        self, routes: list[dict[str, Any]]
    ) -> None:
        other = virtual_service(gateways=["mesh", "istio-system/egress"], http=routes)
        before = finding(other)
        assert self.LACKS in before.message
        patched = followed(other, before.remedy)
        after = finding(patched)
        assert after.message.endswith(f"; {self.REPEATS}")
        assert after.remedy == "Nothing: the host has retries."
        for old, new in zip(routes, patched["spec"]["http"], strict=True):
            to_host = old["route"][0]["destination"]["host"] == HOST
            assert new == (old | {"retries": RECIPE} if to_host else old)

    def test_through_an_egress_gateway_the_leg_to_the_host_is_the_one_to_patch(self) -> None:
        other = virtual_service(gateways=["mesh", "istio-system/egress"], http=list(self.EGRESS_ROUTES))
        assert '"path":"/spec/http/1/retries"' in finding(other).remedy
        assert "/spec/http/0/" not in finding(other).remedy

    def test_the_retries_to_add_are_those_that_the_entry_would_have(self) -> None:
        policy = guard_policy(virtualService={"retries": {"attempts": 5, "backoff": "500ms"}})
        remedy = finding(virtual_service(), policy, annotations={"per-try-timeout": "4s"}).remedy
        (operation,) = json.loads(shlex.split(remedy)[-1])
        assert operation["value"] == {**RECIPE, "attempts": 5, "perTryTimeout": "4s", "backoff": "500ms"}

    def test_an_object_that_leads_the_host_elsewhere_is_not_said_to_repeat_resets(self) -> None:
        found = finding(virtual_service(http=[route(EGRESS)]))
        assert self.REPEATS not in found.message
        assert found.remedy != "Nothing: the host has retries."

    def test_of_several_routes_only_those_without_retries_are_to_be_patched(self) -> None:
        found = finding(virtual_service(http=[route(HOST, retries=RECIPE), route(HOST)]))
        assert self.LACKS in found.message
        (operation,) = json.loads(shlex.split(found.remedy)[-1])
        assert operation["path"] == "/spec/http/1/retries"

    def test_an_object_that_redirects_is_not_said_to_repeat_resets(self) -> None:
        assert self.REPEATS not in finding(virtual_service(http=[{"redirect": {"authority": "b.a"}}])).message

    def test_where_the_policy_turns_retries_off_no_patch_is_printed_that_adds_none(self) -> None:
        policy = guard_policy(virtualService={"retries": {"attempts": 0}})
        assert '"attempts":0' not in finding(virtual_service(), policy).remedy

    def test_an_http_route_cannot_repeat_a_reset_and_is_to_be_replaced(self) -> None:
        found = finding(parents(service_entry()))
        assert found.message == (
            f'HTTPRoute team/route already routes "{HOST}", so no VirtualService is emitted; '
            "it cannot repeat a request whose connection was reset"
        )
        assert found.remedy.startswith("Write a VirtualService with retries in place of the HTTPRoute")
        assert found.other == ("HTTPRoute", Key("team", "route"))

    def test_a_destination_rule_is_said_to_configure_the_host_and_nothing_of_retries(self) -> None:
        other = {"kind": "DestinationRule", "metadata": {"name": "theirs", "namespace": "team"}, "spec": {"host": HOST}}
        policy = guard_policy(destinationRule={"enabled": True})
        found = finding(other, policy)
        assert (
            found.message
            == f'DestinationRule team/theirs already configures "{HOST}", so no DestinationRule is emitted'
        )
        assert found.remedy == found.rule.remedy

    @pytest.mark.parametrize("name", ["$(reboot)", "a b", "a;b", "a'b"])
    def test_a_name_in_a_file_is_one_word_of_the_printed_command(self, name: str) -> None:
        found = finding(virtual_service(name))
        words = shlex.split(found.remedy.removeprefix("Add retries to it: "))
        assert "reboot" not in found.remedy or "'$(reboot)'" in found.remedy
        assert len(words) == 9

    @pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "\u202e"])
    def test_a_name_that_no_terminal_should_show_is_in_no_message_and_no_command(self, name: str) -> None:
        found = finding(virtual_service(name))
        assert (found.message + found.remedy).isprintable()
        assert "kubectl" not in found.remedy
