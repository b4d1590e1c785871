"""What one team asks for reaches no other: limits, refused writes, and a second installation in the cluster."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.kube.client import Client
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, fetch, ready
from tests.bed.processes import wait_until
from tests.bed.refusals import LABEL, refusing
from tests.e2e.team import EVENTS, HTTP, SECONDS, VIRTUAL_SERVICES, Team

pytestmark = pytest.mark.e2e

SETTLED = 12.0
"""Seconds after which a refused namespace is tried seldom."""
RELEASED = 45.0
"""Seconds within which a namespace goes on whose writes are refused no more: the longest pause, and the work."""


def notes(team: Team, reason: str) -> list[str]:
    """What Events of a reason say in a namespace."""
    return [event["note"] for event in team.client.list_page(EVENTS, team.namespace).items if event["reason"] == reason]


def limited(controller: Controller, team: Team, limit: str) -> float:
    """How many entries of a team exceed a limit, as the metric has it."""
    return controller.metric("serviceentry_guard_limited_entries", namespace=team.namespace, limit=limit)


class TestLimits:
    """Beyond a limit nothing is emitted for an entry, and an Event and a metric name the limit."""

    @pytest.mark.parametrize(
        ("limit", "spec"),
        [
            ("entryRoutes", {"ports": [{**HTTP, "number": 8000 + port, "name": f"p{port}"} for port in range(200)]}),
            ("objectBytes", {"exportTo": [f"namespace-{number}" for number in range(10_000)]}),
        ],
    )
    def test_nothing_is_emitted_for_an_entry_that_exceeds_one(
        self, unguarded: Team, controller: Controller, limit: str, spec: dict[str, Any]
    ) -> None:
        hosts = [unguarded.host(f"h{number}") for number in range(3)]
        unguarded.store(unguarded.entry("wide", hosts=hosts, **spec))
        wait_until(lambda: limited(controller, unguarded, limit) == 1, "the metric names the limit", SECONDS)
        wait_until(lambda: bool(notes(unguarded, "LimitExceeded")), "an Event says so", SECONDS)
        unguarded.settle()
        assert f"limits.{limit}" in notes(unguarded, "LimitExceeded")[0]
        assert unguarded.virtual_services() == {}
        unguarded.edit("wide", ports=[HTTP], exportTo=[])
        unguarded.expect(*hosts)
        wait_until(lambda: limited(controller, unguarded, limit) == 0, "the metric follows", SECONDS)

    def test_the_oldest_entries_of_a_namespace_come_first(self, tmp_path: Path, loner: Team) -> None:
        policy = tmp_path / "policy.yaml"
        identity = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
        policy.write_text(json.dumps({**identity, "limits": {"namespaceObjects": 3}}))
        first, second = [[loner.host(f"{name}{number}") for number in range(2)] for name in "ab"]
        flags = ["--no-leader-elect", f"--policy={policy}"]
        with Controller(loner.control_plane, tmp_path, flags) as controller:
            loner.store(loner.entry("first", hosts=first))
            loner.expect(*first)
            time.sleep(1.1)  # the API server counts ages in seconds
            loner.store(loner.entry("second", hosts=second))
            wait_until(lambda: limited(controller, loner, "namespaceObjects") == 1, "the younger is over", SECONDS)
            Team.create(loner.control_plane, loner.client, f"{loner.namespace}-beside").settle()
            loner.expect(*first)
            loner.delete("first")
            loner.expect(*second)
            assert limited(controller, loner, "namespaceObjects") == 0


class TestRefusedWrites:
    """A namespace whose writes are refused is tried less and less often, and told of once."""

    @pytest.fixture
    def refused(self, spare: ControlPlane, spare_api: Client) -> Iterator[Team]:
        """A namespace in which an admission policy refuses VirtualServices."""
        spare.kubectl("create", "--filename=-", stdin=json.dumps(refusing()))
        team = Team.create(spare, spare_api, f"refused-{time.monotonic_ns()}", LABEL)
        wait_until(lambda: self._refuses(team), "the policy is in force", SECONDS)
        yield team
        spare.kubectl("delete", "--filename=-", "--ignore-not-found", stdin=json.dumps(refusing()))

    def _refuses(self, team: Team) -> bool:
        try:
            team.client.create(VIRTUAL_SERVICES, team.foreign("probe", team.host("probe")))
        except Exception:
            return True
        team.delete("probe", VIRTUAL_SERVICES)
        return False

    def test_costs_few_calls_one_line_and_one_event_and_delays_no_other_namespace(
        self, refused: Team, loner: Team, tmp_path: Path
    ) -> None:
        with Controller(refused.control_plane, tmp_path, ["--no-leader-elect"]) as controller:
            hosts = [[refused.host(f"h{entry}-{host}") for host in range(20)] for entry in range(10)]
            refused.store(*(refused.entry(f"e{number}", hosts=named) for number, named in enumerate(hosts)))
            wait_until(lambda: _waiting(controller, refused) == 200, "all of them wait", SECONDS)
            time.sleep(SETTLED)
            before, began = _denied(controller), time.monotonic()
            loner.store(loner.entry())
            loner.virtual_service()
            assert _waiting(controller, refused) == 200, "a neighbour is served while all of them wait"
            time.sleep(SETTLED)
            assert (_denied(controller) - before) / (time.monotonic() - began) < 1
            log = controller.child.log.read_text()
            assert log.count(f"writes in namespace {refused.namespace} are refused") == 1
            (note,) = notes(refused, "WriteRefused")
            assert "no VirtualServices here" in note
            refused.control_plane.kubectl("delete", "--filename=-", stdin=json.dumps(refusing()))
            wanted = {host for named in hosts for host in named}
            wait_until(lambda: refused.virtual_services().keys() == wanted, "all of them come", RELEASED)
            assert _waiting(controller, refused) == 0


def _waiting(controller: Controller, team: Team) -> float:
    return controller.metric("serviceentry_guard_refused_objects", namespace=team.namespace)


def _denied(controller: Controller) -> float:
    return controller.metric("rest_client_requests_total", verb="apply", code="403")


class TestTwoInstallations:
    """Each in a namespace of its own: the second does nothing, and says why."""

    @contextmanager
    def _installed(self, team: Team, folder: Path) -> Iterator[Controller]:
        """A controller whose Lease is in the namespace of a team."""
        timing = ["--lease-duration=6", "--renew-deadline=3", "--retry-period=0.4"]
        one = Controller(team.control_plane, folder, [*timing, f"--namespace={team.namespace}"])
        one.child.start()
        try:
            yield one
        finally:
            one.child.stop()

    def test_the_second_acts_once_the_first_is_gone(
        self, spare: ControlPlane, spare_api: Client, tmp_path: Path
    ) -> None:
        first, second, third = (
            Team.create(spare, spare_api, f"installation-{number}-{time.monotonic_ns()}") for number in range(3)
        )
        with self._installed(second, tmp_path) as late:
            with self._installed(first, tmp_path) as early:
                wait_until(lambda: _leads(early) or _leads(late), "one of them leads", SECONDS)
                leader, other = (early, late) if _leads(early) else (late, early)
                wait_until(
                    lambda: "another installation leads: Lease " in _unready(other), "the other says why", SECONDS
                )
                assert not _leads(other)
                wait_until(lambda: ready(leader.health_port), "the leader is ready", SECONDS)
                third.store(third.entry())
                third.virtual_service()
                assert "uninstall one of the two" in other.child.log.read_text()
                assert not _wrote(other)
            if leader is early:
                wait_until(lambda: _leads(late), "the other takes over", SECONDS)
                wait_until(lambda: ready(late.health_port), "and is ready", SECONDS)


def _leads(controller: Controller) -> bool:
    try:
        return controller.metric("leader_election_master_status") == 1
    except OSError:
        return False


def _unready(controller: Controller) -> str:
    """What /readyz says."""
    try:
        return fetch(controller.health_port, "/readyz")
    except OSError as error:
        body = getattr(error, "read", bytes)()
        return str(body, "utf-8")


def _wrote(controller: Controller) -> bool:
    return controller.metric("rest_client_requests_total", verb="apply") > 0
