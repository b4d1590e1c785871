"""What is emitted for an entry, and for which: each test is a sentence of the design."""

from typing import Any

import pytest

from tests.e2e.definitions import require_words
from tests.e2e.team import HTTP, HTTPS, Team

pytestmark = pytest.mark.e2e

PREFIX = "serviceentry-guard.io/"
STATIC: dict[str, Any] = {"resolution": "STATIC", "endpoints": [{"address": "192.0.2.1"}]}


def port(number: int, protocol: str | None) -> dict[str, Any]:
    """A port of an entry."""
    return {"number": number, "name": f"port-{number}"} | ({"protocol": protocol} if protocol else {})


def annotated(name: str, value: str) -> dict[str, Any]:
    """Metadata with one annotation of ours."""
    return {"annotations": {PREFIX + name: value}}


def to_port(team: Team, number: int) -> dict[str, Any]:
    """The `route` of a route to a port of the host `api`."""
    return {"route": [{"destination": {"host": team.host(), "port": {"number": number}}, "weight": 100}]}


class TestWhichEntriesGetVirtualServices:
    """In scope, resolved, with an HTTP port."""

    @pytest.mark.parametrize(
        "spec",
        [{"resolution": "DNS"}, {"resolution": "DNS_ROUND_ROBIN"}, STATIC],
        ids=["DNS", "DNS_ROUND_ROBIN", "STATIC with endpoints"],
    )
    def test_entries_with_a_stored_resolution_that_gives_retries_another_address_get_one(
        self, team: Team, spec: dict[str, Any]
    ) -> None:
        team.store(team.entry(**spec))
        team.expect(team.host())

    def test_dynamic_dns_with_its_wildcard(self, team: Team) -> None:
        entry = team.entry(hosts=[f"*.{team.host()}"], resolution="DYNAMIC_DNS")
        require_words(team.control_plane, entry)
        team.store(entry)
        team.expect(f"wildcard.{team.host()}")

    @pytest.mark.parametrize(
        "spec",
        [{"resolution": "NONE"}, {"resolution": "NONE", "ports": [HTTP, HTTPS]}, {"resolution": "STATIC"}],
        ids=["NONE", "NONE with the recipe's ports", "STATIC without endpoints"],
    )
    def test_entries_with_retries_to_the_same_dead_address_get_none(
        self, unguarded: Team, spec: dict[str, Any]
    ) -> None:
        unguarded.store(unguarded.entry(**spec))
        unguarded.settle()
        unguarded.expect()

    def test_entries_with_a_workload_selector_get_none(self, team: Team) -> None:
        team.store(team.entry(resolution="STATIC", workloadSelector={"labels": {"app": "vm"}}))
        team.settle()
        team.expect()

    def test_not_those_inside_the_mesh(self, team: Team) -> None:
        team.store(team.entry(location="MESH_INTERNAL"))
        team.settle()
        team.expect()

    def test_not_those_that_are_exempted(self, team: Team) -> None:
        team.store(team.entry(metadata=annotated("exempt", "the vendor retries")))
        team.settle()
        team.expect()

    def test_not_those_that_decline(self, team: Team) -> None:
        team.store(team.entry(metadata=annotated("virtual-service", "Disabled"), resolution="NONE"))
        team.settle()
        assert team.stored()["spec"]["resolution"] == "DNS"
        team.expect()

    @pytest.mark.parametrize("protocol", ["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "http"])
    def test_those_with_a_port_of_the_http_family(self, team: Team, protocol: str) -> None:
        team.store(team.entry(ports=[port(8000, protocol)]))
        team.expect(team.host())

    @pytest.mark.parametrize("protocol", ["HTTPS", "TLS", "TCP", "MONGO", None])
    def test_not_those_with_only_other_ports(self, team: Team, protocol: str | None) -> None:
        team.store(team.entry(ports=[port(8000, protocol)]))
        team.settle()
        team.expect()


class TestTheVirtualService:
    """Its name, its metadata, its reach."""

    def test_is_one_per_host_named_after_it_in_the_same_namespace(self, team: Team) -> None:
        hosts = [team.host("api"), team.host("auth"), team.host("files")]
        team.store(team.entry(hosts=hosts))
        team.expect(*hosts)
        assert [one["spec"]["hosts"] for one in team.virtual_services().values()] == [[host] for host in hosts]

    def test_is_named_in_lower_case_and_keeps_the_authors_spelling_of_the_host(self, team: Team) -> None:
        written = team.host().upper()
        team.store(team.entry(hosts=[written]))
        found = team.virtual_service(team.host())
        assert found["spec"]["hosts"] == [written]
        assert found["spec"]["http"][0]["route"][0]["destination"]["host"] == written

    def test_of_a_wildcard_is_named_wildcard(self, team: Team) -> None:
        team.store(team.entry(hosts=[f"*.{team.host()}"], **STATIC))
        assert team.virtual_service(f"wildcard.{team.host()}")["spec"]["hosts"] == [f"*.{team.host()}"]

    def test_of_a_host_that_is_called_wildcard_does_not_take_the_wildcards_name(self, team: Team) -> None:
        hosts = [f"*.{team.host()}", f"wildcard.{team.host()}"]
        team.store(team.entry(hosts=hosts, **STATIC))
        team.expect(f"wildcard.{team.host()}", f"wildcard-host-wildcard.{team.host()}")
        assert sorted(one["spec"]["hosts"][0] for one in team.virtual_services().values()) == hosts

    @pytest.mark.parametrize("export_to", [["."], ["*"], [".", "team-x"]], ids=str)
    def test_has_the_same_export_to(self, team: Team, export_to: list[str]) -> None:
        team.store(team.entry(exportTo=export_to))
        assert team.virtual_service()["spec"]["exportTo"] == export_to

    def test_has_no_export_to_where_the_entry_has_none(self, team: Team) -> None:
        team.store(team.entry())
        assert "exportTo" not in team.virtual_service()["spec"]

    def test_follows_a_change_of_export_to(self, team: Team) -> None:
        team.store(team.entry(exportTo=["*"]))
        spec = team.virtual_service()["spec"]
        team.edit("api", exportTo=["."])
        team.expect_spec(team.host(), {**spec, "exportTo": ["."]})

    def test_has_the_entry_as_its_owner(self, team: Team) -> None:
        team.store(team.entry())
        (owner,) = team.virtual_service()["metadata"]["ownerReferences"]
        assert owner == {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "name": "api",
            "uid": team.stored()["metadata"]["uid"],
            "controller": True,
        }

    def test_carries_our_label_and_says_which_entry_it_is_for(self, team: Team) -> None:
        team.store(team.entry())
        metadata = team.virtual_service()["metadata"]
        assert metadata["labels"] == {"app.kubernetes.io/managed-by": "serviceentry-guard"}
        assert metadata["annotations"] == {f"{PREFIX}service-entry": f"{team.namespace}/api"}

    def test_does_not_copy_labels_and_annotations_of_the_entry(self, team: Team) -> None:
        argo = {"argocd.argoproj.io/instance": "shop"}
        team.store(team.entry(metadata={"labels": {"app": "shop", **argo}, "annotations": argo}))
        metadata = team.virtual_service()["metadata"]
        assert metadata["labels"].keys() == {"app.kubernetes.io/managed-by"}
        assert metadata["annotations"].keys() == {f"{PREFIX}service-entry"}

    def test_is_written_by_server_side_apply_under_our_field_manager(self, team: Team) -> None:
        team.store(team.entry())
        (managed,) = team.virtual_service()["metadata"]["managedFields"]
        assert (managed["manager"], managed["operation"]) == ("serviceentry-guard", "Apply")
        assert managed["apiVersion"] == "networking.istio.io/v1"

    def test_is_of_istios_stable_version(self, team: Team) -> None:
        team.store(team.entry(version="v1beta1"))
        assert team.virtual_service()["apiVersion"] == "networking.istio.io/v1"


class TestItsRoutes:
    """One for each HTTP port."""

    def test_with_port_80_alone_there_is_one_route_without_match_to_that_port(self, team: Team) -> None:
        team.store(team.entry(ports=[port(80, "HTTP"), port(443, "TLS")]))
        (route,) = team.virtual_service()["spec"]["http"]
        assert "match" not in route
        assert route["route"] == to_port(team, 80)["route"]

    def test_with_another_http_port_its_route_is_matched_as_istio_writes_one_for_port_80_too(self, team: Team) -> None:
        team.store(team.entry(ports=[port(8080, "HTTP"), port(443, "TLS")]))
        (route,) = team.virtual_service()["spec"]["http"]
        assert route["match"] == [{"port": 8080}]
        assert route["route"] == to_port(team, 8080)["route"]

    def test_with_several_http_ports_there_is_one_route_each_matched_by_port(self, team: Team) -> None:
        team.store(team.entry(ports=[port(80, "HTTP"), port(8080, "HTTP2"), port(9090, "GRPC")]))
        routes = team.virtual_service()["spec"]["http"]
        assert [route["match"] for route in routes] == [[{"port": number}] for number in (80, 8080, 9090)]
        assert [route["route"][0]["destination"]["port"]["number"] for route in routes] == [80, 8080, 9090]

    def test_tls_and_tcp_ports_get_no_route_and_a_warning(self, team: Team) -> None:
        applied = team.kubectl("apply", manifest=team.entry(ports=[HTTP, port(443, "TLS")], resolution="NONE"))
        assert "SEG020 spec.ports[1].protocol: port 443 (TLS) gets no retries" in applied.stderr
        spec = team.virtual_service()["spec"]
        assert spec.keys() == {"hosts", "http"}
        assert len(spec["http"]) == 1

    def test_retries_have_only_fields_that_every_istio_knows(self, team: Team) -> None:
        team.store(team.entry())
        (route,) = team.virtual_service()["spec"]["http"]
        assert route["retries"].keys() == {"attempts", "perTryTimeout", "retryOn"}

    def test_retry_on_is_joined_without_spaces(self, team: Team) -> None:
        team.store(team.entry(metadata=annotated("retry-on", "connect-failure, reset ,5xx")))
        (route,) = team.virtual_service()["spec"]["http"]
        assert route["retries"]["retryOn"] == "connect-failure,reset,5xx"

    def test_annotations_of_the_entry_tune_them_also_later(self, team: Team) -> None:
        team.store(team.entry(metadata=annotated("attempts", "5")))
        spec = team.virtual_service()["spec"]
        assert spec["http"][0]["retries"]["attempts"] == 5
        team.edit("api", metadata=annotated("timeout", "1m"))
        spec["http"][0]["retries"]["attempts"] = 3
        spec["http"][0]["timeout"] = "1m"
        team.expect_spec(team.host(), spec)

    def test_follow_a_port_that_changes_and_one_that_comes(self, team: Team) -> None:
        team.store(team.entry(ports=[port(80, "HTTP")]))
        spec = team.virtual_service()["spec"]
        team.edit("api", ports=[port(81, "HTTP"), port(8080, "HTTP")])
        routes = [{**spec["http"][0], "match": [{"port": number}], **to_port(team, number)} for number in (81, 8080)]
        team.expect_spec(team.host(), {**spec, "http": routes})
