"""A holder hands its Lease over to the process that asks for it, such as the removal of the installation."""

import logging
from typing import cast

import pytest

from app.kube import lease
from app.kube.client import Client, Object
from app.kube.errors import Forbidden, Unreachable
from app.kube.lease import LeaderElector
from app.kube.lease_record import HAND_OVER, requested
from app.kube.resources import Resource
from tests.unit.test_kube_lease import Candidate, Clock, Leases

UNINSTALL = "uninstall-laptop_1"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between the end of a term and the handover."""
    monkeypatch.setattr(lease, "HAND_OVER_SECONDS", 0.0)


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ask(leases: Leases, identity: str) -> None:
    """Write the request into the stored Lease, as `request` does."""
    assert leases.stored
    leases.replace(cast("Resource", None), requested(leases.stored, identity), timeout=1.0)


def stored(leases: Leases) -> Object:
    assert leases.stored
    return leases.stored


def test_the_leader_ends_its_term_before_another_process_is_the_holder(leases: Leases, clock: Clock) -> None:
    leader = Candidate(leases, clock)
    leader.elector.campaign()
    ask(leases, UNINSTALL)
    led = list[bool]()

    def renewal() -> None:  # fails, because the request has changed the Lease; the next write is the handover
        leases.before = lambda: led.append(leader.elector.is_leader())

    leases.before = renewal
    leader.elector.campaign()
    assert led == [False]
    assert leader.told == ["started", "stopped"]
    assert stored(leases)["spec"]["holderIdentity"] == UNINSTALL
    assert HAND_OVER not in stored(leases)["metadata"]["annotations"]


def test_neither_the_former_leader_nor_a_standby_takes_the_lease_while_it_is_renewed(
    leases: Leases, clock: Clock
) -> None:
    leader, standby = Candidate(leases, clock), Candidate(leases, clock)
    leader.elector.campaign()
    standby.elector.campaign()
    ask(leases, UNINSTALL)
    leader.elector.campaign()
    for second in range(60):
        clock.now += 1
        if second % 2:
            leases.stored = {**stored(leases), "spec": {**stored(leases)["spec"], "renewTime": str(second)}}
        for each in (leader, standby):
            each.elector.campaign()
            assert not each.elector.is_leader()


def test_a_successor_that_dies_costs_one_lease_duration(leases: Leases, clock: Clock) -> None:
    leader = Candidate(leases, clock)
    leader.elector.campaign()
    ask(leases, UNINSTALL)
    leader.elector.campaign()
    leader.elector.campaign()
    assert not leader.elector.is_leader()
    clock.now += 15
    leader.elector.campaign()
    assert leader.elector.is_leader()


def test_the_successor_leads_as_soon_as_the_lease_is_handed_over(leases: Leases, clock: Clock) -> None:
    leader, other = Candidate(leases, clock), Candidate(leases, clock)
    leader.elector.campaign()
    other.elector.campaign()
    ask(leases, other.elector.identity)
    leader.elector.campaign()
    other.elector.campaign()
    assert other.elector.is_leader()


def test_a_handover_that_fails_leaves_no_leader_that_writes(leases: Leases, clock: Clock) -> None:
    leader = Candidate(leases, clock)
    leader.elector.campaign()
    ask(leases, UNINSTALL)

    def second_write() -> None:
        def unreachable() -> None:
            raise Unreachable("gone")

        leases.before = unreachable

    leases.before = second_write
    leader.elector.campaign()
    assert not leader.elector.is_leader()
    assert leader.told == ["started", "stopped"]


class Request:
    """What an elector asks for, on a client whose calls take the default time."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return self._leases.get(resource, namespace, name, timeout=1.0)

    def replace(self, resource: Resource, body: Object) -> Object:
        return self._leases.replace(resource, body, timeout=1.0)


def test_a_request_writes_its_identity_and_needs_no_lease(leases: Leases, clock: Clock) -> None:
    elector = LeaderElector(cast("Client", Request(leases)), "guard", "controller", pod="uninstall-laptop")
    elector.request()
    assert leases.stored is None
    Candidate(leases, clock).elector.campaign()
    elector.request()
    assert stored(leases)["metadata"]["annotations"] == {HAND_OVER: elector.identity}


def test_rights_that_an_uninstall_takes_away_are_one_line_and_no_warning(
    leases: Leases, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    leader, standby = Candidate(leases, clock), Candidate(leases, clock)
    leader.elector.campaign()
    ask(leases, UNINSTALL)
    leader.elector.campaign()
    standby.elector.campaign()
    caplog.clear()

    def refuse() -> None:
        raise Forbidden(403, "Forbidden", "you may not")

    leases.before_read = refuse
    for _ in range(5):
        leader.elector.campaign()
        standby.elector.campaign()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "the installation is being removed: Lease guard/controller is out of reach")
    ] * 2


def test_rights_that_are_missing_for_another_reason_are_a_warning(
    leases: Leases, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise Forbidden(403, "Forbidden", "you may not")

    leases.before_read = refuse
    Candidate(leases, clock).elector.campaign()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
