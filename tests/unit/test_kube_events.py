"""Events never hold anybody up, and never get out of hand."""

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists, Forbidden
from app.kube.events import EVENT, EventRecorder, Memory
from app.kube.resources import Resource
from app.kube.timing import TokenBucket
from tests.bed.processes import wait_until

ENTRY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "namespace": "team",
    "name": "one",
    "uid": "1234",
}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Events:
    """Takes events when it is let, or raises `error`."""

    def __init__(self) -> None:
        self.written: list[Object] = []
        self.names: set[str] = set()
        self.error: Exception | None = None
        self.may_write = threading.Event()
        self.may_write.set()

    def create(self, resource: Resource, body: Object, *, timeout: float) -> Object:
        assert resource == EVENT
        assert self.may_write.wait(timeout)
        if self.error:
            raise self.error
        if body["metadata"]["name"] in self.names:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        self.names.add(body["metadata"]["name"])
        self.written.append(body)
        return body


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(events: Events, clock: Clock) -> Iterator[EventRecorder]:
    recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1", burst=100, backlog=4, clock=clock)
    yield recorder
    events.may_write.set()
    recorder.stop()


def tell(recorder: EventRecorder, note: str = "made", **changes: str) -> None:
    recorder.record({**ENTRY, **changes}, "Emitted", note, action="Apply")


def written(recorder: EventRecorder, events: Events) -> list[Any]:
    recorder.start()
    recorder.stop()
    return [body["note"] for body in events.written]


def test_an_event_has_every_field_that_the_api_asks_for(recorder: EventRecorder, events: Events) -> None:
    recorder.record({**ENTRY, "labels": "none"}, "Foreign", "left alone", "Warning", action="Yield")
    assert written(recorder, events) == ["left alone"]
    (event,) = events.written
    name = event["metadata"].pop("name")
    assert name.startswith("one.")
    assert event.pop("eventTime").endswith("Z")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "team"},
        "reportingController": "serviceentry-guard",
        "reportingInstance": "pod-1",
        "regarding": ENTRY,
        "reason": "Foreign",
        "note": "left alone",
        "type": "Warning",
        "action": "Yield",
    }


def test_names_and_notes_are_cut_to_what_the_api_takes(recorder: EventRecorder, events: Events) -> None:
    tell(recorder, note="\u00fc" * 2000 + "x", name="n" * 253)
    written(recorder, events)
    (event,) = events.written
    assert len(event["note"].encode()) == 1024
    assert len(event["metadata"]["name"]) == 253


def test_an_event_about_a_cluster_scoped_object_goes_to_the_default_namespace(
    recorder: EventRecorder, events: Events
) -> None:
    tell(recorder, namespace="")
    written(recorder, events)
    assert events.written[0]["metadata"]["namespace"] == "default"


def test_the_same_event_is_written_once_in_ten_minutes(recorder: EventRecorder, events: Events, clock: Clock) -> None:
    for seconds in (0, 599.9, 0.1):
        clock.now += seconds
        tell(recorder)
    tell(recorder, note="made again")
    tell(recorder, uid="5678")
    assert written(recorder, events) == ["made", "made", "made again", "made"]
    assert recorder.dropped == 0


def test_a_change_after_ten_minutes_is_written_again_under_another_name(
    recorder: EventRecorder, events: Events, clock: Clock
) -> None:
    for _ in range(2):
        tell(recorder)
        clock.now += 601
    assert written(recorder, events) == ["made", "made"]
    assert len({body["metadata"]["name"] for body in events.written}) == 2


def test_a_standing_event_is_written_last_and_not_if_the_cluster_already_has_it(events: Events) -> None:
    """A restart: another recorder, which remembers nothing."""
    for expected in (["changed", "stands"], ["changed", "stands", "changed"]):
        recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1")
        recorder.record(ENTRY, "Unfixable", "stands", "Warning", action="Review", standing=True)
        recorder.record(ENTRY, "Emitted", "changed", action="Apply")
        recorder.start()
        wait_until(lambda expected=expected: len(events.written) == len(expected), "all is told")  # type: ignore[misc]
        recorder.stop()
        assert [body["note"] for body in events.written] == expected
        assert recorder.dropped == 0


def test_standing_events_leave_room_for_changes(recorder: EventRecorder, events: Events) -> None:
    for number in range(7):
        recorder.record(ENTRY, "Unfixable", str(number), "Warning", action="Review", standing=True)
    tell(recorder)
    assert recorder.dropped == 3
    assert written(recorder, events)[0] == "made"


def test_events_over_the_limit_are_dropped_and_counted(recorder: EventRecorder, events: Events) -> None:
    for number in range(7):
        tell(recorder, note=str(number))
    assert recorder.dropped == 3
    assert written(recorder, events) == ["0", "1", "2", "3"]


def test_recording_never_waits_for_the_api_server(recorder: EventRecorder, events: Events) -> None:
    events.may_write.clear()
    recorder.start()
    began = time.monotonic()
    for number in range(100):
        tell(recorder, note=str(number))
    assert time.monotonic() - began < 20, "the API server never answers"
    assert recorder.dropped >= 95


def test_stopping_takes_a_second_at_most(recorder: EventRecorder, events: Events) -> None:
    events.may_write.clear()
    recorder.start()
    tell(recorder)
    began = time.monotonic()
    recorder.stop()
    assert time.monotonic() - began < 20, "the API server never answers"


@pytest.mark.parametrize(
    ("error", "level"), [(Forbidden(403, "Forbidden", "no"), logging.INFO), (TypeError("a bug"), logging.ERROR)]
)
def test_a_refused_event_is_counted_and_the_next_is_written(
    recorder: EventRecorder, events: Events, caplog: pytest.LogCaptureFixture, error: Exception, level: int
) -> None:
    caplog.set_level(logging.INFO, "app.kube.events")
    events.error = error
    tell(recorder, note="refused")
    recorder.start()
    while not recorder.dropped:
        time.sleep(0.001)
    events.error = None
    tell(recorder, note="taken")
    recorder.stop()
    assert [body["note"] for body in events.written] == ["taken"]
    assert recorder.dropped == 1
    assert level in [record.levelno for record in caplog.records]


def test_writing_is_paced_once_the_burst_is_used_up(events: Events) -> None:
    recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1", rate=20, burst=2)
    for number in range(6):
        tell(recorder, note=str(number))
    began = time.monotonic()
    recorder.start()
    while len(events.written) < 6 and time.monotonic() - began < 30:
        time.sleep(0.001)
    assert 0.2 <= time.monotonic() - began < 30
    recorder.stop()


def test_the_recorder_writes_no_event_while_the_controller_is_busy(events: Events) -> None:
    written_when_asked = list[int]()

    def busy() -> bool:
        written_when_asked.append(len(events.written))
        return len(written_when_asked) < 4

    recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1", busy=busy)
    tell(recorder)
    recorder.start()
    wait_until(lambda: len(events.written) == 1, "it is told")
    recorder.stop()
    assert written_when_asked == [0, 0, 0, 0]


def test_work_without_end_holds_an_event_up_for_a_second(events: Events) -> None:
    recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1", busy=lambda: True)
    for note in ("first", "second"):
        tell(recorder, note=note)
    began = time.monotonic()
    recorder.start()
    wait_until(lambda: len(events.written) == 2, "both are told")
    recorder.stop()
    assert time.monotonic() - began >= 2


def test_stop_writes_the_events_that_waited_for_other_work(events: Events) -> None:
    recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1", busy=lambda: True)
    for note in ("first", "second", "third"):
        tell(recorder, note=note)
    assert written(recorder, events) == ["first", "second", "third"]


def test_a_token_bucket_lets_a_burst_pass_and_then_its_rate(clock: Clock) -> None:
    bucket = TokenBucket(rate=10, burst=3, clock=clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 60
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(0.1)


def test_a_memory_holds_no_more_than_its_limit_and_forgets_the_oldest(clock: Clock) -> None:
    memory = Memory(quiet=10, limit=2, clock=clock)
    assert [memory.knows(saying) for saying in "aabbc"] == [False, True, False, True, False]
    assert not memory.knows("a")
    assert len(memory._said) == 2
    clock.now += 10
    assert not memory.knows("c")
    assert len(memory._said) == 1


def test_namespaces_take_turns_and_a_flood_of_one_delays_another_by_one_event(
    recorder: EventRecorder, events: Events
) -> None:
    for note in ("a1", "a2", "a3"):
        tell(recorder, note=note, namespace="a")
    tell(recorder, note="b1", namespace="b")
    assert written(recorder, events) == ["a1", "b1", "a2", "a3"]


def test_of_a_full_room_the_namespace_with_the_most_events_gives_up_its_last(
    recorder: EventRecorder, events: Events
) -> None:
    for note in ("a1", "a2", "a3", "a4", "a5"):
        tell(recorder, note=note, namespace="a")
    tell(recorder, note="b1", namespace="b")
    tell(recorder, note="c1", namespace="c")
    assert recorder.dropped == 3
    assert written(recorder, events) == ["a1", "b1", "c1", "a2"]


def test_standing_events_of_one_namespace_do_not_delay_those_of_another(events: Events) -> None:
    recorder = EventRecorder(cast("Client", events), "serviceentry-guard", "pod-1")
    for number in range(3):
        recorder.record({**ENTRY, "namespace": "a"}, "X", f"a{number}", "Warning", action="Review", standing=True)
    recorder.record({**ENTRY, "namespace": "b"}, "X", "b0", "Warning", action="Review", standing=True)
    recorder.start()
    wait_until(lambda: len(events.written) == 4, "all is told")
    recorder.stop()
    assert [body["note"] for body in events.written] == ["a0", "b0", "a1", "a2"]
