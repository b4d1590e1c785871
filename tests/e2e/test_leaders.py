"""Two controllers, of which one leads: whatever becomes of it, one writes, and never two."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.forwarder import Forwarder
from tests.e2e.team import Team

pytestmark = pytest.mark.e2e

LEASE_SECONDS = 6.0
TIMING = (f"--lease-duration={LEASE_SECONDS:g}", "--renew-deadline=3", "--retry-period=0.4")
PATIENT = ("--lease-duration=600", "--renew-deadline=300", "--retry-period=0.4")
"""A lease for whose end no test waits."""

Start = Callable[..., Controller]


@pytest.fixture
def start(spare: ControlPlane, tmp_path: Path) -> Iterator[Start]:
    """Starts a controller on the second control plane, and stops it after the test."""
    with ExitStack() as stack:

        def start(*timing: str, kubeconfig: Path | None = None) -> Controller:
            return stack.enter_context(Controller(spare, tmp_path, timing, kubeconfig))

        yield start


def leads(controller: Controller) -> bool:
    """Whether this one says so of itself."""
    return controller.metric("leader_election_master_status") == 1


def conflicts(controller: Controller, team: Team) -> float:
    """What its metric says of the namespace."""
    return controller.metric("serviceentry_guard_host_conflicts", namespace=team.namespace)


def wait_until_leading(controller: Controller) -> None:
    """Wait for longer than any lease here but the patient one lasts."""
    wait_until(lambda: leads(controller), "it leads", 5 * LEASE_SECONDS)


def store(team: Team, name: str) -> str:
    """Create an entry with a host of its own name, and return the host."""
    team.store(team.entry(name, hosts=[team.host(name)]))
    return team.host(name)


def wrote(controller: Controller, host: str) -> bool:
    """Whether this one applied the VirtualService."""
    text = controller.child.log.read_text()
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return any(line["message"] == "reconciled" and line["name"] == host and line["applied"] for line in lines)


def test_only_the_leader_writes(loner: Team, start: Start) -> None:
    first = start(*TIMING)
    wait_until_leading(first)
    second = start(*TIMING)
    host = store(loner, "one")
    wait_until(lambda: wrote(first, host), "the leader wrote it")
    loner.settle()
    assert not leads(second)
    assert not wrote(second, host)


def test_when_the_leader_is_killed_the_other_one_takes_over(loner: Team, start: Start) -> None:
    first = start(*TIMING)
    wait_until_leading(first)
    second = start(*TIMING)
    hosts = [store(loner, "before")]
    loner.expect(*hosts)
    first.child.kill()
    hosts.append(store(loner, "orphaned"))
    loner.delete("before")
    wait_until_leading(second)
    hosts.append(store(loner, "after"))
    loner.expect(*hosts[1:])
    wait_until(lambda: wrote(second, hosts[1]), "the other one wrote it")


def test_a_leader_that_is_asked_to_stop_gives_the_lease_back_at_once(loner: Team, start: Start) -> None:
    first = start(*PATIENT)
    wait_until_leading(first)
    second = start(*PATIENT)
    assert first.child.stop() == 0
    wait_until_leading(second)
    loner.expect(store(loner, "one"))


def test_a_leader_that_hears_nothing_stops_writing_before_another_one_begins(
    loner: Team, start: Start, forwarder: Forwarder
) -> None:
    first = start(*TIMING, kubeconfig=forwarder.kubeconfig(loner.control_plane.kubeconfig))
    wait_until_leading(first)
    second = start(*TIMING)
    with forwarder.silent():
        # In this order: once the second leads, the first cannot come to lead again.
        wait_until(lambda: leads(second) or not leads(first), "the first one leads no more", 5 * LEASE_SECONDS)
        assert not leads(first)
        wait_until_leading(second)
        host = store(loner, "meanwhile")
        loner.expect(host)
    loner.settle()
    assert leads(second)
    assert not leads(first)
    assert not wrote(first, host)


def test_a_leader_that_was_frozen_for_longer_than_its_lease_writes_nothing_when_it_wakes(
    loner: Team, start: Start
) -> None:
    first = start(*TIMING)
    wait_until_leading(first)
    second = start(*TIMING)
    first.child.pause()
    host = store(loner, "meanwhile")
    wait_until(lambda: wrote(second, host), "the other one wrote it")
    loner.delete("meanwhile")
    again = store(loner, "again")
    first.child.resume()
    loner.expect(again)
    wait_until(lambda: not leads(first), "the first one knows that it leads no more")
    loner.settle()
    assert not wrote(first, host)
    assert not wrote(first, again)


def test_only_the_leader_exposes_conflicts_in_its_metrics(loner: Team, start: Start) -> None:
    first = start(*TIMING)
    wait_until_leading(first)
    second = start(*TIMING)
    loner.store(loner.foreign("mine", loner.host()), loner.entry())
    wait_until(lambda: conflicts(first, loner) == 1, "the leader tells of it")
    assert conflicts(second, loner) == 0
    first.child.pause()
    wait_until(lambda: conflicts(second, loner) == 1, "the next leader tells of it", 5 * LEASE_SECONDS)
    first.child.resume()
    wait_until(lambda: conflicts(first, loner) == 0, "the first one is silent")


def test_a_leader_without_api_server_steps_down_before_its_lease_ends_and_leads_again_later(
    loner: Team, start: Start
) -> None:
    leader = start(*TIMING)
    wait_until_leading(leader)
    loner.expect(store(loner, "before"))
    loner.control_plane.pause()
    frozen = monotonic()
    try:
        wait_until(lambda: not leads(leader), "it leads no more")
        assert monotonic() - frozen < LEASE_SECONDS
    finally:
        loner.control_plane.resume()
    wait_until_leading(leader)
    loner.expect(loner.host("before"), store(loner, "after"))
