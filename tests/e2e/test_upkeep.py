"""What goes with its entry, and what is put back."""

from typing import Any

import pytest

from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.team import HTTPS, VIRTUAL_SERVICES, Team

pytestmark = pytest.mark.e2e

PREFIX = "serviceentry-guard.io/"


class TestAVirtualServiceGoesWith:
    """What took away the reason for it."""

    @pytest.fixture
    def emitted(self, team: Team) -> Team:
        """A team whose entry has two hosts, both with a VirtualService."""
        team.store(team.entry(hosts=[team.host(), team.host("auth")]))
        team.expect(team.host(), team.host("auth"))
        return team

    def test_a_host_that_is_removed(self, emitted: Team) -> None:
        emitted.edit("api", hosts=[emitted.host("auth")])
        emitted.expect(emitted.host("auth"))

    def test_a_host_that_is_replaced(self, emitted: Team) -> None:
        emitted.edit("api", hosts=[emitted.host("auth"), emitted.host("new")])
        emitted.expect(emitted.host("auth"), emitted.host("new"))

    def test_an_entry_that_is_deleted(self, emitted: Team) -> None:
        emitted.delete("api")
        emitted.expect()

    def test_an_entry_that_waits_for_a_finalizer(self, emitted: Team) -> None:
        emitted.edit("api", metadata={"finalizers": ["example.com/cleanup"]})
        emitted.delete("api")
        assert "deletionTimestamp" in emitted.stored()["metadata"]
        emitted.expect()

    @pytest.mark.parametrize("annotation", [("exempt", "the vendor retries"), ("virtual-service", "Disabled")], ids=str)
    def test_an_entry_that_is_exempted_or_declines(self, emitted: Team, annotation: tuple[str, str]) -> None:
        name, value = annotation
        emitted.edit("api", metadata={"annotations": {PREFIX + name: value}})
        emitted.expect()
        emitted.edit("api", metadata={"annotations": {}})
        emitted.expect(emitted.host(), emitted.host("auth"))

    def test_a_port_that_stops_being_http(self, emitted: Team) -> None:
        emitted.edit("api", ports=[HTTPS])
        emitted.expect()

    def test_a_location_that_is_inside_the_mesh(self, emitted: Team) -> None:
        emitted.edit("api", location="MESH_INTERNAL")
        emitted.expect()

    def test_a_resolution_that_is_set_back_where_the_webhook_is_not_asked(self, unguarded: Team) -> None:
        unguarded.store(unguarded.entry())
        unguarded.expect(unguarded.host())
        unguarded.edit("api", resolution="NONE")
        unguarded.expect()

    def test_nothing_else(self, emitted: Team) -> None:
        before = emitted.virtual_services()
        emitted.edit("api", metadata={"labels": {"team": "mine"}})
        emitted.settle()
        assert emitted.virtual_services() == before

    def test_a_recreated_entry_owns_the_one_virtual_service(self, emitted: Team) -> None:
        emitted.delete("api")
        emitted.store(emitted.entry())
        uid = emitted.stored()["metadata"]["uid"]

        def owners() -> list[str]:
            found = emitted.virtual_services().values()
            return [owner["uid"] for one in found for owner in one["metadata"]["ownerReferences"]]

        wait_until(lambda: owners() == [uid], "the new entry owns the one VirtualService")


class TestAnEditedOneIsPutBack:
    """By whomever and whatever was edited, as long as our label is on it."""

    @pytest.fixture
    def emitted(self, team: Team) -> Team:
        """A team with one VirtualService of ours."""
        team.store(team.entry())
        team.expect(team.host())
        return team

    @pytest.mark.parametrize(
        "spec",
        [
            {"http": [{"route": [{"destination": {"host": "elsewhere.example.com"}}]}]},
            {"http": None},
            {"hosts": ["elsewhere.example.com"]},
            {"exportTo": ["."]},
            {"gateways": ["istio-system/gateway"]},
            {"tcp": [{"route": [{"destination": {"host": "elsewhere.example.com"}}]}]},
        ],
        ids=lambda spec: f"{'removed' if None in spec.values() else 'written'} {next(iter(spec))}",
    )
    def test_in_its_spec(self, emitted: Team, spec: dict[str, Any]) -> None:
        before = emitted.virtual_service()["spec"]
        emitted.patch(emitted.host(), {"spec": spec})
        emitted.expect_spec(emitted.host(), before)

    def test_in_a_field_deep_inside_that_was_added_by_another_manager(self, emitted: Team) -> None:
        before = emitted.virtual_service()["spec"]
        (route,) = before["http"]
        added = {**route, "headers": {"request": {"set": {"x-added": "1"}}}}
        manifest = emitted.virtual_service()
        manifest["metadata"] = {"name": emitted.host(), "namespace": emitted.namespace}
        manifest["spec"] = {**before, "http": [added]}
        emitted.kubectl("apply", "--server-side", "--force-conflicts", manifest=manifest)
        emitted.expect_spec(emitted.host(), before)

    @pytest.mark.parametrize("field", ["ownerReferences", "annotations"])
    def test_in_its_metadata(self, emitted: Team, field: str) -> None:
        before = emitted.virtual_service()["metadata"][field]
        emitted.patch(emitted.host(), {"metadata": {field: None}})
        wait_until(lambda: emitted.virtual_service()["metadata"].get(field) == before, f"{field} are back")

    def test_when_it_was_deleted(self, emitted: Team) -> None:
        before = emitted.virtual_service()
        emitted.delete(emitted.host(), VIRTUAL_SERVICES)
        after = emitted.virtual_service()
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["spec"] == before["spec"]

    def test_but_labels_and_annotations_that_others_add_stay(self, emitted: Team) -> None:
        emitted.patch(emitted.host(), {"metadata": {"labels": {"team": "mine"}}, "spec": {"exportTo": ["."]}})
        wait_until(lambda: "exportTo" not in emitted.virtual_service()["spec"], "the spec is put back")
        assert emitted.virtual_service()["metadata"]["labels"]["team"] == "mine"

    def test_once_and_then_there_is_rest(self, emitted: Team) -> None:
        emitted.patch(emitted.host(), {"spec": {"gateways": ["istio-system/gateway"]}})
        wait_until(lambda: "gateways" not in emitted.virtual_service()["spec"], "the spec is put back")
        emitted.settle()
        before = emitted.virtual_service()
        emitted.settle()
        assert emitted.virtual_service() == before


def test_an_object_with_our_label_that_no_entry_asks_for_is_deleted(team: Team) -> None:
    orphan = team.foreign("orphan", team.host("orphan"))
    orphan["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "serviceentry-guard"}
    team.store(orphan)
    team.expect()


def test_the_controller_counts_the_objects_it_manages(team: Team, controller: Controller) -> None:
    def managed() -> float:
        return controller.metric("serviceentry_guard_managed_objects", kind="VirtualService")

    team.settle()
    before = managed()
    team.store(team.entry(hosts=[team.host(), team.host("auth")]), team.foreign("mine", team.host("mine")))
    wait_until(lambda: managed() == before + 2, "both are counted, and the foreign one is not")
