"""The fence, with a clock that stands still until told, and an API whose answers are late, lost or never given."""

import logging
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists, NotFound, Unreachable, WriteConflict
from app.kube.lease import LeaderElector, Timing
from app.kube.resources import Resource

TIMING = Timing()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Leases:
    """One Lease with optimistic locking; `before` and `after` run around the next write's effect."""

    def __init__(self) -> None:
        self.stored: Object | None = None
        self.calls: list[str] = []
        self.timeouts: list[float] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.before_read: Callable[[], None] = lambda: None

    def get(self, _: Resource, __: str, ___: str, *, timeout: float) -> Object:
        self._note("get", timeout)
        self.before_read()
        if self.stored is None:
            raise NotFound(404, "NotFound", "no lease")
        return self.stored

    def create(self, _: Resource, body: Object, *, timeout: float) -> Object:
        self._note("create", timeout)
        if self.stored is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        return self._write(body)

    def replace(self, _: Resource, body: Object, *, timeout: float) -> Object:
        self._note("replace", timeout)
        return self._write(body)

    def _note(self, call: str, timeout: float) -> None:
        self.calls.append(call)
        self.timeouts.append(timeout)

    def _write(self, body: Object) -> Object:
        before, self.before = self.before, lambda: None
        after, self.after = self.after, lambda: None
        before()
        version = self.stored["metadata"]["resourceVersion"] if self.stored else 0
        if body["metadata"].get("resourceVersion", 0) != version:
            raise WriteConflict(409, "Conflict", "another version")
        self.stored = {**body, "metadata": {**body["metadata"], "resourceVersion": version + 1}}
        answer = self.stored
        after()
        return answer


class Candidate:
    def __init__(self, leases: Leases, clock: Clock, offset: float = 0.0, **options: Any) -> None:
        self.told: list[str] = []
        self.elector = LeaderElector(
            cast("Client", leases),
            "guard",
            "controller",
            on_started=lambda: self.told.append("started"),
            on_stopped=lambda: self.told.append("stopped"),
            timing=TIMING,
            clock=lambda: clock.now + offset,
            **options,
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def one(leases: Leases, clock: Clock) -> Candidate:
    return Candidate(leases, clock)


@pytest.fixture
def leader(one: Candidate) -> Candidate:
    one.elector.campaign()
    assert one.elector.is_leader()
    return one


def passing(clock: Clock, seconds: float) -> Callable[[], None]:
    def pass_time() -> None:
        clock.now += seconds

    return pass_time


def lost() -> None:
    raise Unreachable("the answer was lost")


def test_a_term_lasts_for_the_renew_deadline_from_when_the_renewal_was_sent(
    one: Candidate, leases: Leases, clock: Clock
) -> None:
    leases.after = passing(clock, 3)
    one.elector.campaign()
    assert one.elector.remaining() == TIMING.renew_deadline - 3
    clock.now += 6.999
    assert one.elector.is_leader()
    clock.now += 0.001
    assert not one.elector.is_leader()
    assert one.elector.remaining() == 0


def test_no_replica_leads_before_the_first_response(one: Candidate) -> None:
    assert not one.elector.is_leader()


def test_leading_ends_at_the_deadline_while_the_renewing_call_hangs(
    leader: Candidate, leases: Leases, clock: Clock
) -> None:
    led: list[bool] = []

    def hang() -> None:
        for _ in range(11):
            clock.now += 1
            led.append(leader.elector.is_leader())
        lost()

    leases.before = hang
    leader.elector.campaign()
    assert led == [True] * 9 + [False] * 2
    assert leader.told == ["started", "stopped"]


def test_an_answer_that_comes_after_the_deadline_does_not_revive_the_term(
    leader: Candidate, leases: Leases, clock: Clock
) -> None:
    leases.after = passing(clock, 11)
    leader.elector.campaign()
    assert not leader.elector.is_leader()
    assert leader.told == ["started", "stopped"]
    leader.elector.campaign()
    assert leader.elector.is_leader()
    assert leader.told == ["started", "stopped", "started"]


def test_an_answer_between_the_old_deadline_and_the_new_one_begins_a_new_term(
    leader: Candidate, leases: Leases, clock: Clock
) -> None:
    clock.now += 8
    leases.after = passing(clock, 3)
    leader.elector.campaign()
    assert leader.elector.remaining() == 7
    assert leader.told == ["started", "stopped", "started"]


def test_a_renewal_with_a_lost_response_does_not_count_and_the_next_reads_the_lease_first(
    leader: Candidate, leases: Leases, clock: Clock
) -> None:
    clock.now += 2
    leases.after = lost
    leader.elector.campaign()
    assert leader.elector.remaining() == TIMING.renew_deadline - 2
    leases.calls.clear()
    leader.elector.campaign()
    assert leases.calls == ["get", "replace"]
    assert leader.elector.remaining() == TIMING.renew_deadline
    assert leader.told == ["started"]


def test_a_renewal_that_nothing_disturbs_is_one_call(leader: Candidate, leases: Leases) -> None:
    leases.calls.clear()
    leader.elector.campaign()
    assert leases.calls == ["replace"]


def test_no_call_may_take_longer_than_the_term_lasts(leader: Candidate, leases: Leases, clock: Clock) -> None:
    assert max(leases.timeouts) == TIMING.call < TIMING.renew_deadline
    clock.now += 9
    leader.elector.campaign()
    assert leases.timeouts[-1] == 1


@pytest.mark.usefixtures("leader")
def test_others_wait_for_the_duration_from_when_they_saw_the_record_whatever_it_says_of_time(
    leases: Leases, clock: Clock
) -> None:
    assert leases.stored
    leases.stored["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
    clock.now += 60
    other = Candidate(leases, clock, offset=3600)
    other.elector.campaign()
    clock.now += TIMING.duration - 0.001
    other.elector.campaign()
    assert not other.elector.is_leader()
    clock.now += 0.001
    other.elector.campaign()
    assert other.elector.is_leader()


def test_a_renewal_makes_other_replicas_wait_again(leader: Candidate, leases: Leases, clock: Clock) -> None:
    other = Candidate(leases, clock)
    for _ in range(20):
        other.elector.campaign()
        clock.now += 2
        leader.elector.campaign()
    assert leader.elector.is_leader()
    assert other.told == []


@pytest.mark.usefixtures("leader")
def test_the_holder_decides_for_how_long_its_lease_is_respected(leases: Leases, clock: Clock) -> None:
    assert leases.stored
    leases.stored["spec"]["leaseDurationSeconds"] = 60
    other = Candidate(leases, clock)
    other.elector.campaign()
    clock.now += 59
    other.elector.campaign()
    assert other.told == []
    clock.now += 1
    other.elector.campaign()
    assert other.told == ["started"]


@pytest.mark.usefixtures("leader")
def test_an_outage_does_not_make_others_forget_for_how_long_they_have_waited(leases: Leases, clock: Clock) -> None:
    other = Candidate(leases, clock)
    other.elector.campaign()
    clock.now += 8
    leases.before_read = lost
    other.elector.campaign()
    leases.before_read = lambda: None
    clock.now += 7
    other.elector.campaign()
    assert other.elector.is_leader()


def test_another_writer_of_the_lease_is_noticed_in_the_same_attempt(leader: Candidate, leases: Leases) -> None:
    assert leases.stored
    stolen = {**leases.stored["spec"], "holderIdentity": "a thief"}
    leases.stored = {"metadata": {"resourceVersion": 99}, "spec": stolen}
    leader.elector.campaign()
    assert not leader.elector.is_leader()
    assert leader.told == ["started", "stopped"]


def test_a_lease_without_a_record_is_free(one: Candidate, leases: Leases) -> None:
    leases.stored = {"metadata": {"resourceVersion": 1}}
    one.elector.campaign()
    assert one.elector.is_leader()


def test_an_earlier_process_of_the_same_pod_is_dead_and_its_lease_free(leases: Leases, clock: Clock) -> None:
    def elector(pod: str) -> LeaderElector:
        return LeaderElector(cast("Client", leases), "ns", "name", clock=clock, pod=pod)

    first = elector("controller-a")
    first.campaign()
    assert first.is_leader()
    for other in ("controller-b", "controller", "", "controller-a_b"):
        late = elector(other)
        late.campaign()
        assert not late.is_leader(), "another pod waits for the whole duration"
    restarted = elector("controller-a")
    restarted.campaign()
    assert restarted.is_leader()
    assert restarted.identity != first.identity


def test_a_standby_logs_whom_it_waits_for_once(
    leader: Candidate, leases: Leases, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = Candidate(leases, clock)
    for _ in range(3):
        other.elector.campaign()
    said = [record.getMessage() for record in caplog.records if "standing by" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"standing by: {leader.elector.identity} holds lease ")


def test_each_new_holder_counts_as_a_transition(leader: Candidate, leases: Leases, clock: Clock) -> None:
    assert leases.stored
    assert leases.stored["spec"]["leaseTransitions"] == 0
    leader.elector.campaign()
    assert leases.stored["spec"]["leaseTransitions"] == 0
    other = Candidate(leases, clock)
    other.elector.campaign()
    clock.now += TIMING.duration
    other.elector.campaign()
    assert leases.stored["spec"]["leaseTransitions"] == 1
    assert leases.stored["spec"]["holderIdentity"] == other.elector.identity != leader.elector.identity


def test_leaving_stops_before_it_releases(leader: Candidate, leases: Leases) -> None:
    states: list[tuple[bool, list[str]]] = []
    leases.before = lambda: states.append((leader.elector.is_leader(), list(leader.told)))
    leader.elector._resign()
    assert states == [(False, ["started", "stopped"])]
    assert leases.stored
    assert leases.stored["spec"]["holderIdentity"] == ""


def test_a_release_that_fails_leaves_the_lease_to_expire(
    leader: Candidate, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    leases.before = lost
    leader.elector._resign()
    assert leader.told == ["started", "stopped"]
    assert "so it must expire" in caplog.text


def test_a_lease_that_was_deleted_is_not_released(leader: Candidate, leases: Leases) -> None:
    leases.stored = None
    leases.before = lost
    leader.elector.campaign()
    leases.before = lost
    leader.elector.campaign()
    leases.calls.clear()
    leader.elector._resign()
    assert leases.calls == []
    assert leader.told == ["started", "stopped"]


def test_a_callback_that_raises_does_not_end_the_campaign(leases: Leases, caplog: pytest.LogCaptureFixture) -> None:
    def on_started() -> None:
        raise RuntimeError("a bug")

    timing = Timing(duration=3, renew_deadline=2, retry=0.01, call=1)
    elector = LeaderElector(cast("Client", leases), "guard", "controller", on_started=on_started, timing=timing)
    renewed = threading.Event()
    elector.start()
    leases.after = renewed.set
    assert renewed.wait(60)
    elector.stop()
    assert not elector.is_leader()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info


@pytest.mark.parametrize(
    "seconds",
    [
        {"duration": 10, "renew_deadline": 10.0},
        {"renew_deadline": 6.0, "call": 4.0, "retry": 2.0},
        {"call": 11.0},
    ],
)
def test_a_timing_that_cannot_keep_two_from_leading_is_refused(seconds: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="duration > renew_deadline > call"):
        Timing(**seconds)


class TwoCandidates(RuleBasedStateMachine):
    """Whatever the network does to their calls, and however far their clocks are apart, one leads at most."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.leases = Leases()
        self.candidates = [Candidate(self.leases, self.clock), Candidate(self.leases, self.clock, offset=-500)]

    @rule(
        who=st.sampled_from([0, 1]),
        before=st.integers(0, 12),
        after=st.integers(0, 12),
        fault=st.sampled_from(["", "", "request lost", "answer lost"]),
        meanwhile=st.booleans(),
    )
    def campaign(self, who: int, before: int, after: int, fault: str, meanwhile: bool) -> None:
        def on_the_way() -> None:
            self.pass_time(before)
            if meanwhile:
                self.candidates[1 - who].elector.campaign()
                self.one_leads_at_most()
            if fault == "request lost":
                lost()

        def on_the_way_back() -> None:
            self.pass_time(after)
            if fault == "answer lost":
                lost()

        self.leases.before, self.leases.after = on_the_way, on_the_way_back
        self.candidates[who].elector.campaign()
        self.leases.before = self.leases.after = lambda: None

    @rule(seconds=st.integers(1, 8))
    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            self.one_leads_at_most()

    @rule(who=st.sampled_from([0, 1]))
    def resign(self, who: int) -> None:
        self.candidates[who].elector._resign()

    @invariant()
    def one_leads_at_most(self) -> None:
        assert sum(each.elector.is_leader() for each in self.candidates) <= 1


TestTwoCandidates = TwoCandidates.TestCase
