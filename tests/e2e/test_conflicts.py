"""Hosts that several claim: VirtualServices of others, which ours yield to, and entries that share a host."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.controller.entry_events import EntryEvents
from app.controller.inventory import Inventory
from app.controller.reconciler import Reconciler
from app.core.resources.service_entry import Key, ServiceEntry
from app.kube.errors import WriteConflict
from app.kube.events import EventRecorder
from app.policyfile import PolicyFile
from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.team import SERVICE_ENTRIES, VIRTUAL_SERVICES, Team

pytestmark = pytest.mark.e2e

MANAGED_BY = "app.kubernetes.io/managed-by"
GATEWAY = "istio-system/gateway"


def conflicts(controller: Controller, team: Team) -> float:
    """What the metric says of the namespace."""
    return controller.metric("serviceentry_guard_host_conflicts", namespace=team.namespace)


class TestAHostThatAForeignVirtualServiceClaims:
    """In the same namespace; what is foreign is whatever lacks our label."""

    @pytest.fixture
    def contested(self, team: Team) -> Team:
        """A team that wrote a VirtualService of its own, and then the entry for the host."""
        team.store(team.foreign("mine", team.host()), team.entry(hosts=[team.host(), team.host("free")]))
        return team

    def test_gets_no_virtual_service_but_the_other_hosts_of_the_entry_get_theirs(self, contested: Team) -> None:
        contested.expect("mine", contested.host("free"))
        contested.settle()
        contested.expect("mine", contested.host("free"))

    def test_shows_in_an_event_on_the_entry(self, contested: Team) -> None:
        note = f'VirtualService {contested.namespace}/mine already routes "{contested.host()}"'
        wait_until(lambda: bool(contested.conflict_notes()), "there is an Event")
        assert contested.conflict_notes()[0].startswith(note)
        shown = contested.kubectl("describe", "serviceentry", "api").stdout
        assert "HostConflict" in shown
        assert note in shown

    def test_shows_in_the_metric_until_the_other_one_goes(self, contested: Team, controller: Controller) -> None:
        wait_until(lambda: conflicts(controller, contested) == 1, "the metric counts it")
        contested.delete("mine", VIRTUAL_SERVICES)
        wait_until(lambda: conflicts(controller, contested) == 0, "the metric counts it no more")

    def test_shows_in_the_metric_until_the_entry_goes(self, contested: Team, controller: Controller) -> None:
        wait_until(lambda: conflicts(controller, contested) == 1, "the metric counts it")
        contested.delete("api")
        wait_until(lambda: conflicts(controller, contested) == 0, "the metric counts it no more")

    def test_gets_ours_when_the_other_one_goes(self, contested: Team) -> None:
        contested.settle()
        contested.delete("mine", VIRTUAL_SERVICES)
        contested.expect(contested.host(), contested.host("free"))

    def test_gets_ours_when_the_other_one_claims_it_no_more(self, contested: Team) -> None:
        contested.settle()
        contested.patch("mine", {"spec": {"hosts": [contested.host("else")]}})
        contested.expect("mine", contested.host(), contested.host("free"))


class TestOurs:
    """It yields also to what comes later, and claims again."""

    def test_goes_when_another_one_comes(self, team: Team) -> None:
        team.store(team.entry())
        team.expect(team.host())
        team.store(team.foreign("mine", team.host()))
        team.expect("mine")

    def test_yields_to_a_wildcard(self, team: Team) -> None:
        team.store(team.foreign("mine", f"*.{team.namespace}.example.com"), team.entry())
        wait_until(lambda: bool(team.conflict_notes()), "there is an Event")
        team.expect("mine")

    def test_yields_whatever_the_spelling(self, team: Team) -> None:
        team.store(team.foreign("mine", team.host().upper()), team.entry())
        wait_until(lambda: bool(team.conflict_notes()), "there is an Event")
        team.expect("mine")

    def test_does_not_yield_to_one_for_gateways_only(self, team: Team) -> None:
        team.store(team.foreign("ingress", team.host(), gateways=[GATEWAY]), team.entry())
        team.expect("ingress", team.host())

    def test_yields_to_one_for_gateways_and_the_mesh(self, team: Team) -> None:
        team.store(team.foreign("both", team.host(), gateways=[GATEWAY, "mesh"]), team.entry())
        wait_until(lambda: bool(team.conflict_notes()), "there is an Event")
        team.expect("both")

    def test_does_not_yield_to_one_for_another_host(self, team: Team) -> None:
        team.store(team.foreign("other", f"x{team.host()}"), team.entry())
        team.expect("other", team.host())

    @pytest.mark.parametrize("visible", ["*", "to us", "unset"])
    def test_yields_to_one_of_another_namespace_that_is_visible_here(
        self, team: Team, neighbour: Team, visible: str
    ) -> None:
        visibility: dict[str, Any] = {"*": {"exportTo": ["*"]}, "to us": {"exportTo": [team.namespace]}, "unset": {}}
        neighbour.store(neighbour.foreign("theirs", team.host(), **visibility[visible]))
        team.store(team.entry())
        wait_until(lambda: bool(team.conflict_notes()), "there is an Event")
        assert f"VirtualService {neighbour.namespace}/theirs already routes" in team.conflict_notes()[0]
        team.expect()
        neighbour.delete("theirs", VIRTUAL_SERVICES)
        team.expect(team.host())

    @pytest.mark.parametrize("export_to", [["."], ["elsewhere"]], ids=str)
    def test_does_not_yield_to_one_of_another_namespace_that_is_not_visible_here(
        self, team: Team, neighbour: Team, export_to: list[str]
    ) -> None:
        neighbour.store(neighbour.foreign("theirs", team.host(), exportTo=export_to))
        neighbour.settle()
        team.store(team.entry())
        team.expect(team.host())

    def test_yields_when_one_of_another_namespace_becomes_visible(self, team: Team, neighbour: Team) -> None:
        neighbour.store(neighbour.foreign("theirs", team.host(), exportTo=["."]))
        team.store(team.entry())
        team.expect(team.host())
        neighbour.patch("theirs", {"spec": {"exportTo": ["*"]}})
        team.expect()


class TestAnObjectWithoutOurLabel:
    """It is never changed or deleted, whatever becomes of the entry."""

    @pytest.fixture
    def namesake(self, team: Team) -> Team:
        """A team that has a VirtualService of its own by the very name that ours would have."""
        team.store(team.foreign(team.host(), team.host("unrelated")), team.entry())
        team.expect(team.host(), f"{team.host()}.2")
        return team

    def test_is_not_overwritten_even_with_our_name(self, namesake: Team) -> None:
        before = namesake.virtual_service()
        namesake.edit("api", exportTo=["."])
        namesake.settle()
        assert namesake.virtual_service() == before
        assert namesake.virtual_service(f"{namesake.host()}.2")["spec"]["exportTo"] == ["."]

    def test_is_not_deleted_with_the_entry_even_with_our_name(self, namesake: Team) -> None:
        before = namesake.virtual_service()
        namesake.delete("api")
        namesake.expect(namesake.host())
        assert namesake.virtual_service() == before

    def test_gives_its_name_back_to_ours_when_it_goes(self, namesake: Team) -> None:
        namesake.delete(namesake.host(), VIRTUAL_SERVICES)
        namesake.expect(namesake.host())
        assert MANAGED_BY in namesake.virtual_service()["metadata"]["labels"]

    def test_is_not_changed_even_with_an_owner_reference_to_the_entry(self, team: Team) -> None:
        team.store(team.entry())
        theirs = team.virtual_service()
        team.patch(team.host(), {"metadata": {"labels": {MANAGED_BY: None}}, "spec": {"exportTo": ["."]}})
        team.settle()
        team.delete("api")
        team.settle()
        assert team.virtual_services()[team.host()]["metadata"]["uid"] == theirs["metadata"]["uid"]
        assert team.virtual_services()[team.host()]["spec"] == {**theirs["spec"], "exportTo": ["."]}

    def test_is_not_changed_if_another_program_manages_it(self, team: Team) -> None:
        foreign = team.foreign("chart", team.host())
        foreign["metadata"]["labels"] = {MANAGED_BY: "Helm"}
        team.store(foreign, team.entry())
        before = team.virtual_services()
        team.delete("api")
        team.settle()
        assert team.virtual_services() == before

    def test_is_not_changed_even_before_the_watch_observed_it(self, team: Team) -> None:
        theirs = team.foreign(team.host(), team.host())
        theirs["spec"]["tls"] = [{"match": [{"port": 443, "sniHosts": [team.host()]}], **theirs["spec"].pop("http")[0]}]
        del theirs["spec"]["tls"][0]["timeout"]
        team.store(theirs, team.entry())
        team.expect(team.host(), f"{team.host()}.2")
        before = team.virtual_services()
        entry, inventory = ServiceEntry.parse(team.stored()), Inventory()
        inventory.put_entry(None, entry)
        events = EntryEvents(EventRecorder(team.client, "test", "test"), lambda: True)
        reconciler = Reconciler(inventory, team.client, PolicyFile(None, lambda _: None), events)
        with pytest.raises(WriteConflict):
            reconciler.reconcile(Key(team.namespace, team.host()))
        assert team.virtual_services()[team.host()] == before[team.host()]

    def test_becomes_a_persons_when_our_label_is_removed_and_ours_comes_when_it_goes(self, team: Team) -> None:
        team.store(team.entry())
        team.expect(team.host())
        team.patch(team.host(), {"metadata": {"labels": {MANAGED_BY: None}}, "spec": {"exportTo": ["."]}})
        wait_until(lambda: bool(team.conflict_notes()), "there is an Event")
        team.settle()
        assert team.virtual_service()["spec"]["exportTo"] == ["."]
        team.delete(team.host(), VIRTUAL_SERVICES)
        wait_until(lambda: MANAGED_BY in team.virtual_service()["metadata"].get("labels", {}), "ours is there")
        assert "exportTo" not in team.virtual_service()["spec"]


class TestTwoEntriesOfOneNamespaceThatClaimAHost:
    """`older` and `younger`; what they export tells whose the VirtualService is."""

    @pytest.fixture
    def shared(self, team: Team) -> Team:
        """A team with both. Creation times have whole seconds; within one the name decides."""
        team.store(team.entry("older", exportTo=["."]), team.entry("younger", exportTo=["*"]))
        team.expect(team.host())
        return team

    def test_share_one_virtual_service_and_the_older_owns_it(self, shared: Team) -> None:
        shared.settle()
        found = shared.virtual_service()
        assert found["spec"]["exportTo"] == ["."]
        assert [owner["name"] for owner in found["metadata"]["ownerReferences"]] == ["older"]

    def test_the_older_entry_owns_the_virtual_service_regardless_of_names(self, team: Team) -> None:
        team.store(team.entry("z-older"))
        created = datetime.fromisoformat(team.stored("z-older")["metadata"]["creationTimestamp"])
        wait_until(lambda: datetime.now(UTC) >= created + timedelta(seconds=1), "a second has passed")
        team.store(team.entry("a-younger"))
        team.settle()
        (owner,) = team.virtual_service()["metadata"]["ownerReferences"]
        assert owner["name"] == "z-older"

    def test_hand_it_over_when_the_older_goes(self, shared: Team) -> None:
        spec = shared.virtual_service()["spec"]
        shared.delete("older")
        shared.expect_spec(shared.host(), {**spec, "exportTo": ["*"]})
        (owner,) = shared.virtual_service()["metadata"]["ownerReferences"]
        assert owner["uid"] == shared.stored("younger")["metadata"]["uid"]

    def test_hand_it_over_when_the_older_no_longer_has_the_host(self, shared: Team) -> None:
        spec = shared.virtual_service()["spec"]
        shared.edit("older", hosts=[shared.host("other")])
        shared.expect_spec(shared.host(), {**spec, "exportTo": ["*"]})
        shared.expect(shared.host(), shared.host("other"))

    def test_keep_it_when_the_younger_goes(self, shared: Team) -> None:
        before = shared.virtual_service()
        shared.delete("younger")
        shared.settle()
        assert shared.virtual_service() == before

    def test_lose_it_when_both_go(self, shared: Team) -> None:
        for entry in ("older", "younger"):
            shared.delete(entry, SERVICE_ENTRIES)
        shared.expect()

    def test_of_two_namespaces_have_one_each(self, team: Team, neighbour: Team) -> None:
        for each in (team, neighbour):
            each.store(each.entry(hosts=[team.host("shared")]))
        for each in (team, neighbour):
            each.expect(team.host("shared"))
