"""The main job: what a team applies comes out with resolution DNS, and one VirtualService per host stands there."""

import json
from typing import Any

import pytest

from tests.e2e.team import HTTP, HTTPS, SERVICE_ENTRIES, Team

pytestmark = pytest.mark.e2e


def recipe(team: Team, version: str = "v1") -> dict[str, Any]:
    """The entry of the recipe, as an application team gets it wrong."""
    hosts = [team.host("api"), team.host("auth")]
    location = "MESH_EXTERNAL"
    return team.entry(version=version, hosts=hosts, location=location, ports=[HTTP, HTTPS], resolution="NONE")


def route(host: str) -> dict[str, Any]:
    """What the recipe wants for each host."""
    return {
        "route": [{"destination": {"host": host, "port": {"number": 80}}, "weight": 100}],
        "timeout": "30s",
        "retries": {
            "attempts": 3,
            "perTryTimeout": "2s",
            "retryOn": "gateway-error,connect-failure,refused-stream,5xx",
        },
    }


def test_apply_of_the_recipes_entry_comes_out_as_the_recipe(team: Team) -> None:
    applied = team.kubectl("apply", manifest=recipe(team))
    assert "SEG003 spec.resolution: NONE becomes DNS" in applied.stderr
    assert team.stored()["spec"] == {**recipe(team)["spec"], "resolution": "DNS"}
    team.expect(team.host("api"), team.host("auth"))
    for host, found in team.virtual_services().items():
        assert found["spec"] == {"hosts": [host], "http": [route(host)]}


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_each_served_version_of_service_entry_is_guarded(team: Team, version: str) -> None:
    team.kubectl("apply", manifest=recipe(team, version))
    read = team.kubectl("get", f"serviceentries.{version}.networking.istio.io", "api", "--output=json")
    assert json.loads(read.stdout)["spec"]["resolution"] == "DNS"
    team.expect(team.host("api"), team.host("auth"))


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha3"])
def test_an_update_in_an_older_version_is_guarded_as_well(team: Team, version: str) -> None:
    team.store(team.entry())
    team.kubectl("apply", "--server-side", "--force-conflicts", manifest=recipe(team, version))
    assert team.stored()["spec"]["resolution"] == "DNS"
    team.expect(team.host("api"), team.host("auth"))


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_applying_the_same_manifest_again_leaves_everything_as_it_is(team: Team, how: list[str]) -> None:
    team.kubectl("apply", *how, manifest=recipe(team))
    team.expect(team.host("api"), team.host("auth"))
    before = team.stored(), team.virtual_services()
    again = team.kubectl("apply", *how, manifest=recipe(team))
    assert "SEG003" in again.stderr
    team.settle()
    after = team.stored(), team.virtual_services()
    assert _specs_and_versions(after) == _specs_and_versions(before)


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_an_applied_change_is_guarded_and_reaches_the_virtual_services(team: Team, how: list[str]) -> None:
    team.kubectl("apply", *how, manifest=recipe(team))
    hosts = [team.host("auth"), team.host("new")]
    team.kubectl("apply", *how, manifest=team.entry(hosts=hosts, resolution="NONE"))
    assert team.stored()["spec"]["resolution"] == "DNS"
    team.expect(*hosts)


def test_an_update_that_sets_the_resolution_back_does_not_get_through(team: Team) -> None:
    team.store(team.entry())
    patched = team.kubectl("patch", "serviceentry", "api", "--type=merge", '--patch={"spec":{"resolution":"NONE"}}')
    assert "SEG003" in patched.stderr
    assert team.stored()["spec"]["resolution"] == "DNS"


def test_an_update_that_drops_the_resolution_does_not_get_through(team: Team) -> None:
    team.store(team.entry())
    team.kubectl("patch", "serviceentry", "api", "--type=merge", '--patch={"spec":{"resolution":null}}')
    assert team.stored()["spec"]["resolution"] == "DNS"


class TestADryRun:
    """`--dry-run=server`."""

    DRY_RUN = ("--dry-run=server", "--output=json")

    @pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
    def test_of_a_create_shows_dns_and_neither_stores_nor_emits_anything(self, team: Team, how: list[str]) -> None:
        shown = team.kubectl("apply", *how, *self.DRY_RUN, manifest=recipe(team))
        assert json.loads(shown.stdout)["spec"]["resolution"] == "DNS"
        assert "SEG003 spec.resolution: NONE becomes DNS" in shown.stderr
        team.settle()
        assert not team.client.list_page(SERVICE_ENTRIES, team.namespace).items
        team.expect()

    def test_of_an_update_shows_dns_and_changes_nothing(self, team: Team) -> None:
        team.store(team.entry())
        team.expect(team.host())
        before = team.stored(), team.virtual_services()
        manifest = team.entry(hosts=[team.host("other")], resolution="NONE")
        shown = team.kubectl("apply", "--server-side", "--force-conflicts", *self.DRY_RUN, manifest=manifest)
        assert json.loads(shown.stdout)["spec"] == {**manifest["spec"], "resolution": "DNS"}
        team.settle()
        assert (team.stored(), team.virtual_services()) == before

    def test_of_a_delete_keeps_the_virtual_service(self, team: Team) -> None:
        team.store(team.entry())
        team.expect(team.host())
        before = team.virtual_services()
        team.kubectl("delete", "serviceentry", "api", "--dry-run=server")
        team.settle()
        assert team.virtual_services() == before

    def test_of_a_refused_entry_is_refused(self, team: Team) -> None:
        manifest = team.entry(resolution="NONE", addresses=["10.0.0.0/8"])
        assert "SEG006" in team.kubectl("create", *self.DRY_RUN, manifest=manifest, check=False).stderr


def _specs_and_versions(seen: tuple[Any, dict[str, Any]]) -> Any:
    """What would differ had anything been written: the entry's spec, and each VirtualService's version."""
    entry, virtual_services = seen
    return entry["spec"], {name: one["metadata"]["resourceVersion"] for name, one in virtual_services.items()}
