"""What the controller is there for when something fails: itself, its leader, its connection, its history."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bed.guard import Controller, exempting
from tests.bed.processes import wait_until
from tests.e2e.forwarder import Forwarder
from tests.e2e.team import HTTPS, VIRTUAL_SERVICES, Team

pytestmark = pytest.mark.e2e

ALONE = ("--no-leader-elect",)
BURST = 200


def store(team: Team, *names: str) -> None:
    """Create entries, each with a host of its own name."""
    team.store(*(team.entry(name, hosts=[team.host(name)]) for name in names))


def test_a_controller_that_was_down_while_ten_entries_changed_makes_everything_right(
    loner: Team, tmp_path: Path
) -> None:
    arguments = [*ALONE, f"--policy={exempting(tmp_path)}"]
    store(loner, "deleted", "renamed", "tls", "exempt", "untouched", "edited", "removed", "claimed", "shared")
    loner.store(loner.entry("younger", hosts=[loner.host("shared")], exportTo=["."]))
    with Controller(loner.control_plane, tmp_path, arguments):
        names = ("deleted", "renamed", "tls", "exempt", "untouched", "edited", "removed", "claimed", "shared")
        loner.expect(*map(loner.host, names))
    specs = {name: one["spec"] for name, one in loner.virtual_services().items()}

    loner.delete("deleted")
    loner.delete("shared")
    loner.edit("renamed", hosts=[loner.host("new")])
    loner.edit("tls", ports=[HTTPS])
    loner.edit("exempt", metadata={"annotations": {"serviceentry-guard.io/exempt": "the vendor retries"}})
    loner.patch(loner.host("edited"), {"spec": {"http": None, "gateways": ["istio-system/gateway"]}})
    loner.delete(loner.host("removed"), VIRTUAL_SERVICES)
    loner.store(loner.foreign("mine", loner.host("claimed")))
    store(loner, "created", "created-too")
    loner.delete("created-too")

    with Controller(loner.control_plane, tmp_path, arguments):
        right = ("new", "untouched", "edited", "removed", "shared", "created")
        loner.expect("mine", *map(loner.host, right))
        loner.expect_spec(loner.host("edited"), specs[loner.host("edited")])
        loner.expect_spec(loner.host("shared"), {**specs[loner.host("shared")], "exportTo": ["."]})
        assert loner.virtual_service(loner.host("untouched"))["spec"] == specs[loner.host("untouched")]


def test_a_restarted_controller_writes_no_unchanged_object(loner: Team, tmp_path: Path) -> None:
    store(loner, "one", "two")
    with Controller(loner.control_plane, tmp_path, ALONE):
        loner.expect(loner.host("one"), loner.host("two"))
    before = loner.virtual_services()
    with Controller(loner.control_plane, tmp_path, ALONE):
        loner.settle()
        assert loner.virtual_services() == before


def test_all_entries_of_a_burst_get_virtual_services_even_if_the_controller_is_killed(
    loner: Team, tmp_path: Path
) -> None:
    names = [f"burst-{number}" for number in range(BURST)]
    with Controller(loner.control_plane, tmp_path, ALONE) as killed, ThreadPoolExecutor(8) as pool:
        created = pool.map(lambda name: store(loner, name), names)
        wait_until(lambda: len(loner.virtual_services()) > BURST // 10, "the burst is under way")
        killed.child.kill()
        there = len(loner.virtual_services())
        assert sum(1 for _ in created) == BURST
    assert there < BURST
    with Controller(loner.control_plane, tmp_path, ALONE):
        loner.expect(*map(loner.host, names))


def test_a_controller_lists_again_and_misses_no_change_after_its_watch_history_expired(
    loner: Team, forwarder: Forwarder, tmp_path: Path
) -> None:
    cluster = loner.control_plane
    store(loner, "kept", "edited", "deleted")
    with Controller(cluster, tmp_path, ALONE, forwarder.kubeconfig(cluster.kubeconfig)) as controller:
        loner.expect(*map(loner.host, ("kept", "edited", "deleted")))
        controller.child.pause()
        with forwarder.cut():
            store(loner, "created", "short-lived")
            for name in ("deleted", "short-lived"):
                loner.delete(name)
            loner.edit("edited", hosts=[loner.host("new")])
            loner.delete(loner.host("kept"), VIRTUAL_SERVICES)
            cluster.forget_history()
        controller.child.resume()
        store(loner, "later")
        loner.expect(*map(loner.host, ("kept", "new", "created", "later")))
        assert "(410 Expired)" in controller.child.log.read_text()


def test_a_controller_that_is_asked_to_stop_while_it_is_frozen_stops_once_it_goes_on(
    loner: Team, tmp_path: Path
) -> None:
    with Controller(loner.control_plane, tmp_path, ALONE) as controller:
        controller.child.pause()
        assert controller.child.stop() == 0
