"""Two candidates and a real API server, which is frozen, or sees its leader killed, robbed or released."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count, pairwise
from typing import Any

import pytest

from app.kube.client import Client
from app.kube.errors import ApiError, NotFound
from app.kube.lease import LeaderElector, Timing
from app.kube.resources import LEASES, Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until

pytestmark = pytest.mark.e2e

TIMING = Timing(duration=5, renew_deadline=3.5, retry=0.2, call=1.5)
PATIENT = Timing(duration=60, renew_deadline=40.0, retry=0.2, call=1.0)
NAME = "controller"
MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NUMBERS = count(1)
CANDIDATE = """
import sys, threading
from app.kube.client import Client
from app.kube.lease import LeaderElector, Timing
kubeconfig, namespace, name = sys.argv[1:]
timing = Timing(duration=5, renew_deadline=3.5, retry=0.2, call=1.5)
LeaderElector(Client.from_kubeconfig(kubeconfig), namespace, name, timing=timing).start()
threading.Event().wait()
"""


class Candidate:
    """An elector with a record of its terms: pairs of beginning and end, in monotonic seconds."""

    def __init__(self, plane: ControlPlane, namespace: str, timing: Timing) -> None:
        self.terms: list[list[float]] = []
        self.client = Client.from_kubeconfig(str(plane.kubeconfig))
        self.elector = LeaderElector(
            self.client, namespace, NAME, on_started=self.on_started, on_stopped=self.on_stopped, timing=timing
        )
        self.running = False

    def on_started(self) -> None:
        self.terms.append([time.monotonic()])

    def on_stopped(self) -> None:
        self.terms[-1].append(time.monotonic())

    def start(self) -> "Candidate":
        self.elector.start()
        self.running = True
        return self

    def leads(self) -> "Candidate":
        wait_until(self.elector.is_leader, "it leads")
        wait_until(lambda: bool(self.terms and len(self.terms[-1]) == 1), "it was told so")
        return self

    def stop(self) -> None:
        if self.running:
            self.elector.stop()
            self.running = False
        self.client.close()


@pytest.fixture
def plane(spare: ControlPlane) -> ControlPlane:
    return spare


@pytest.fixture
def place(plane: ControlPlane) -> str:
    name = f"lease-{next(NUMBERS)}"
    plane.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def admin(plane: ControlPlane) -> Iterator[Client]:
    client = Client.from_kubeconfig(str(plane.kubeconfig))
    yield client
    client.close()


Candidates = Callable[..., Candidate]


@pytest.fixture
def candidate(plane: ControlPlane, place: str) -> Iterator[Candidates]:
    candidates: list[Candidate] = []

    def candidate(timing: Timing = TIMING) -> Candidate:
        candidates.append(Candidate(plane, place, timing))
        return candidates[-1]

    yield candidate
    for each in candidates:
        each.stop()


def record(admin: Client, place: str) -> dict[str, Any]:
    spec: dict[str, Any] = admin.get(LEASES, place, NAME)["spec"]
    return spec


def test_the_first_candidate_leads_and_says_so_in_the_lease(candidate: Candidates, admin: Client, place: str) -> None:
    first = candidate().start().leads()
    spec = record(admin, place)
    assert spec["holderIdentity"] == first.elector.identity
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (TIMING.duration, 0)
    acquired, renewed = spec["acquireTime"], spec["renewTime"]
    wait_until(lambda: record(admin, place)["renewTime"] > renewed, "it renews")
    assert record(admin, place)["acquireTime"] == acquired


def test_while_one_leads_no_other_does(candidate: Candidates) -> None:
    first = candidate().start().leads()
    second = candidate().start()
    end = time.monotonic() + TIMING.duration + 1
    while time.monotonic() < end:
        assert first.elector.is_leader()
        assert not second.elector.is_leader()
        time.sleep(0.01)
    assert second.terms == []


def test_a_released_lease_is_taken_over_at_once(candidate: Candidates, admin: Client, place: str) -> None:
    first = candidate(PATIENT).start().leads()
    second = candidate(PATIENT).start()
    began = time.monotonic()
    first.stop()
    assert not first.elector.is_leader()
    second.leads()
    assert time.monotonic() - began < PATIENT.duration / 2
    assert first.terms[-1][1] <= second.terms[0][0]
    assert record(admin, place)["leaseTransitions"] == 1


def test_a_released_lease_names_no_holder_and_lasts_a_second(candidate: Candidates, admin: Client, place: str) -> None:
    candidate().start().leads().stop()
    spec = record(admin, place)
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("", 1)


def test_a_killed_leader_is_followed_once_its_lease_has_expired_and_not_before(
    plane: ControlPlane, candidate: Candidates, admin: Client, place: str
) -> None:
    with subprocess.Popen([sys.executable, "-c", CANDIDATE, str(plane.kubeconfig), place, NAME]) as process:
        try:
            wait_until(lambda: holder(admin, place) is not None, "the process leads")
            second = candidate().start()
            renewed = record(admin, place)["renewTime"]
            wait_until(lambda: record(admin, place)["renewTime"] > renewed, "the process renews")
        finally:
            process.kill()
    renewed = record(admin, place)["renewTime"]
    second.leads()
    acquired = record(admin, place)["acquireTime"]
    waited = datetime.fromisoformat(acquired) - datetime.fromisoformat(renewed)
    assert TIMING.duration <= waited.total_seconds() < 3 * TIMING.duration


def holder(admin: Client, place: str) -> str | None:
    try:
        return str(record(admin, place)["holderIdentity"])
    except NotFound:
        return None


def test_a_leader_cut_off_by_a_frozen_api_server_stops_before_its_lease_ends(
    plane: ControlPlane, candidate: Candidates
) -> None:
    candidates = [candidate().start().leads(), candidate().start()]
    first = candidates[0]
    plane.pause()
    frozen = time.monotonic()
    try:
        now = frozen
        while first.elector.is_leader():
            assert now - frozen < TIMING.renew_deadline, "the last renewal was sent before the freeze"
            now = time.monotonic()
        assert first.elector.remaining() == 0
        wait_until(lambda: len(first.terms[0]) == 2, "its thread, which does not hang, says so", 30)
    finally:
        plane.resume()
    wait_until(lambda: any(each.elector.is_leader() for each in candidates), "one leads again")
    for each in candidates:
        each.stop()
    terms = sorted(term for each in candidates for term in each.terms)
    assert all(end <= start for (_, end), (start, *_) in pairwise(terms)), "two led at a time"


def test_a_write_is_over_before_the_lease_when_the_api_server_freezes(
    plane: ControlPlane, candidate: Candidates, place: str
) -> None:
    first = candidate().start().leads()
    client = first.client.fenced(first.elector.remaining)
    metadata = {"namespace": place, "name": "one"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    client.apply(MAPS, body)
    plane.pause()
    frozen = time.monotonic()
    try:
        while first.elector.is_leader():
            with pytest.raises(ApiError):
                client.apply(MAPS, body)
        assert time.monotonic() - frozen < 2 * TIMING.duration
    finally:
        plane.resume()


def test_a_leader_that_is_robbed_stops_as_soon_as_it_sees_it(candidate: Candidates, admin: Client, place: str) -> None:
    first = candidate(PATIENT).start().leads()
    steal(admin, place)
    began = time.monotonic()
    wait_until(lambda: not first.elector.is_leader(), "it stops leading")
    assert time.monotonic() - began < PATIENT.renew_deadline - 10, "it does not wait for its renew deadline"
    first.leads()  # the thief never renews


def steal(admin: Client, place: str) -> None:
    stolen = {"holderIdentity": "a thief", "leaseDurationSeconds": 2}
    patch = [{"op": "replace", "path": f"/spec/{field}", "value": value} for field, value in stolen.items()]
    admin.json_patch(LEASES, place, NAME, patch)


def test_a_label_on_the_lease_neither_ends_a_term_nor_prolongs_a_dead_one(
    candidate: Candidates, admin: Client, place: str
) -> None:
    first = candidate().start().leads()
    label(admin, place, "1")
    renewed = record(admin, place)["renewTime"]
    wait_until(lambda: record(admin, place)["renewTime"] > renewed, "it renews all the same")
    assert len(first.terms) == 1
    steal(admin, place)
    began = time.monotonic()
    while not first.elector.is_leader() or len(first.terms) < 2:
        label(admin, place, str(time.monotonic()))
        assert time.monotonic() - began < 60
        time.sleep(0.1)


def label(admin: Client, place: str, value: str) -> None:
    operation = {"op": "add", "path": "/metadata/labels", "value": {"touched": value}}
    admin.json_patch(LEASES, place, NAME, [operation])


def test_the_leader_recreates_a_deleted_lease_and_keeps_leading(
    candidate: Candidates, admin: Client, place: str
) -> None:
    first = candidate().start().leads()
    admin.delete(LEASES, place, NAME)
    wait_until(lambda: holder(admin, place) == first.elector.identity, "the lease is back")
    assert len(first.terms) == 1


def test_leaving_without_ever_having_led_changes_nothing(candidate: Candidates, admin: Client, place: str) -> None:
    first = candidate().start().leads()
    candidate().start().stop()
    assert record(admin, place)["holderIdentity"] == first.elector.identity
