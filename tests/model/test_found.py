"""Faults that the model found, each in its smallest form."""

from typing import Any

import pytest

from tests.builders import HTTP, HTTPS
from tests.model import operations as do
from tests.model.faults import Fault, Kind
from tests.model.storage import Stored
from tests.model.world import World


@pytest.fixture
def world() -> Any:
    world = World()
    yield world
    world.close()


def put(name: str, *ports: dict[str, Any], host: str = "api.example.com", **spec: Any) -> do.Put:
    content = {"hosts": [host], "ports": list(ports), "location": "MESH_EXTERNAL", "resolution": "DNS", **spec}
    return do.Put("ServiceEntry", "alpha", name, {"metadata": {}, "spec": content})


def written(world: World, kind: str) -> list[Stored]:
    return [stored for place, stored in world.storage.objects.items() if place[0].kind == kind]


def test_a_policy_that_changes_before_the_first_list_leaves_siblings_to_the_complete_list(world: World) -> None:
    put("theirs", HTTP, resolution="NONE", addresses=["192.0.2.0/24"]).run(world)
    put("ours", HTTP, resolution="NONE").run(world)
    leader = world.replicas[0]
    do.SetPolicy(2).run(world)  # existing: Remediate
    for part in ("lease", "policy", "serviceentries", "remediate"):
        leader.run(part)
    assert not leader.manager._siblings.ready
    world.settle()
    world.check()
    assert {stored.manifest["spec"]["resolution"] for stored in written(world, "ServiceEntry")} == {"NONE"}


def test_an_entry_without_a_valid_host_is_the_same_to_a_controller_that_sees_it_come_and_to_one_that_starts(
    world: World,
) -> None:
    world.settle()
    put("one", HTTP, host="localhost", resolution="NONE").run(world)
    world.settle()
    world.check()
    world.check_rest()


def test_a_controller_that_starts_writes_no_report_before_it_knows_the_siblings(world: World) -> None:
    put("one", HTTPS).run(world)
    put("two", HTTP).run(world)
    world.settle()
    before = [stored.version for stored in written(world, "Report")]
    world.check_rest()
    assert [stored.version for stored in written(world, "Report")] == before


def test_a_controller_that_starts_counts_findings_that_siblings_cause(world: World) -> None:
    put("one", HTTPS).run(world)
    put("two", HTTP).run(world)
    world.settle()
    for replica in world.replicas:
        assert replica.manager._gauges.findings()["alpha", "SEG051"] == 2


def test_an_event_that_was_not_written_is_written_when_the_replica_leads_again(world: World) -> None:
    world.settle()
    put("one", HTTP, resolution="NONE", addresses=["192.0.2.0/24"]).run(world)
    leader = world.replicas[0]
    leader.run("serviceentries")
    do.Disturb((Fault(0, Kind.FORBIDDEN),)).run(world)
    leader.drain("events")
    assert not [one for one in written(world, "Event") if one.manifest["reason"] == "Unfixable"]
    world.advance(20)  # the Lease ends, and the same replica acquires it again
    world.settle()
    assert [one for one in written(world, "Event") if one.manifest["reason"] == "Unfixable"]
