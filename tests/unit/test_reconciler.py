"""One key decided and applied: what is written again, and what is known to be our own write that came back."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.controller.contention import IMMEDIATE, Contested
from app.controller.entry_events import EntryEvents
from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.reconciler import Reconciler
from app.controller.workers import BURST, Workers
from app.core.policy.model import default_policy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.kube.client import Client
from app.kube.errors import ServerError
from app.kube.events import EventRecorder
from app.policyfile import PolicyFile
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import UNTRACED
from tests.bed.processes import wait_until
from tests.builders import entry, guard_policy
from tests.unit.kube_server import Handler, Server, json_answer, running

KEY = Key("team", "api.example.com")


class Cluster:
    """A key's entry and object, and an API server that stores what is applied; `others` is laid over each spec."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.inventory = Inventory()
        self.policy = PolicyFile(None, lambda _taken: None)
        client = Client.from_kubeconfig(server.kubeconfig(folder / "kubeconfig", {}))
        self.events = EntryEvents(EventRecorder(client, "test", "test"), lambda: True)
        self.reconciler = Reconciler(self.inventory, client, self.policy, self.events)
        self.others: dict[str, Any] = {}
        self.stored: dict[str, Any] | None = None
        self.skips_empty_writes = (
            False  # as a real API server, which keeps the version of an object that stays as it is
        )
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.fails_from = 0  # the first request that is answered with 500, counted from 1; 0 for none
        self._server = server
        self._entry: ServiceEntry | None = None
        self._seen: Observed | None = None
        server.answers = [self._answer]

    @property
    def requests(self) -> list[str]:
        """The methods of all that was sent."""
        return [seen.method for seen in self._server.seen]

    def put(self, entry: ServiceEntry | None) -> None:
        """An entry comes, changes or goes."""
        self.inventory.put_entry(self._entry, entry)
        self._entry = entry

    def observe(self, **changes: Any) -> None:
        """What is stored comes on the watch, with other fields if somebody edited it."""
        seen = Observed.parse({**self.stored, **changes}) if self.stored else None
        self.inventory.put_object(self._seen, seen)
        self._seen = seen

    def edit(self, **spec: Any) -> None:
        """Somebody edits what is stored, and that comes on the watch."""
        assert self.stored
        self._store({**self.stored, "spec": {**self.stored["spec"], **spec}})
        self.observe()

    def _answer(self, handler: Handler) -> None:
        assert self.may_answer.wait(30)
        if 0 < self.fails_from <= len(self._server.seen):
            json_answer({"kind": "Status", "code": 500, "message": "broken"}, 500)(handler)
            return
        body = json.loads(self._server.seen[-1].body)
        if handler.command == "DELETE":
            self.stored = None
            json_answer({"kind": "Status", "status": "Success"})(handler)
            return
        if handler.command == "PATCH" and isinstance(body, list):
            assert self.stored
            body = {**self.stored, "spec": body[1]["value"]}
        self._store({**body, "spec": {**body["spec"], **self.others}})
        json_answer(self.stored)(handler)

    def _store(self, document: dict[str, Any]) -> None:
        if self.skips_empty_writes and self.stored and self.stored["spec"] == document["spec"]:
            return
        version = str(int(document["metadata"]["resourceVersion"]) + 1)
        self.stored = {**document, "metadata": {**document["metadata"], "uid": "9", "resourceVersion": version}}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running() as server:
        yield Cluster(server, tmp_path)


@pytest.fixture
def written(cluster: Cluster) -> Cluster:
    """A cluster in which the entry's VirtualService was just written, and not observed yet."""
    cluster.put(entry())
    cluster.reconciler.reconcile(KEY)
    assert cluster.requests == ["PATCH"]
    return cluster


class TestAKeyThatWasWritten:
    """Is settled once what was written, and nothing else, came back."""

    def test_is_not_settled_before(self, written: Cluster) -> None:
        assert not written.reconciler.settled(KEY)

    def test_is_settled_once_it_came_back(self, written: Cluster) -> None:
        written.observe()
        assert written.reconciler.settled(KEY)
        assert not written.reconciler.settled(KEY), "it is remembered no longer"

    def test_is_not_decided_again_when_its_watch_event_preceded_the_response(
        self, written: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written.observe()
        monkeypatch.setattr("app.controller.reconciler.desired_at", lambda *_: pytest.fail("decided anew"))
        assert not written.reconciler.reconcile(KEY).apply
        assert written.requests == ["PATCH"]

    def test_is_written_again_after_an_edit(self, written: Cluster) -> None:
        written.edit(http=[])
        assert not written.reconciler.settled(KEY)
        written.reconciler.reconcile(KEY)
        assert written.requests == ["PATCH", "PATCH"]

    def test_is_written_again_after_an_edit_that_follows_its_watch_event(self, written: Cluster) -> None:
        written.observe()
        assert written.reconciler.settled(KEY)
        written.edit(http=[])
        assert not written.reconciler.settled(KEY)
        written.reconciler.reconcile(KEY)
        assert written.requests == ["PATCH", "PATCH"]

    def test_is_decided_again_when_its_entry_changed_meanwhile(self, written: Cluster) -> None:
        written.put(entry(exportTo=["."]))
        written.observe()
        assert not written.reconciler.settled(KEY)
        written.reconciler.reconcile(KEY)
        assert written.requests == ["PATCH", "PATCH"]

    def test_is_decided_again_under_another_policy(self, written: Cluster) -> None:
        written.observe()
        written.policy.current = replace(default_policy())
        assert not written.reconciler.settled(KEY)

    def test_is_decided_again_while_another_webhook_changes_the_written_object(self, cluster: Cluster) -> None:
        cluster.others = {"exportTo": ["."]}
        cluster.put(entry())
        cluster.reconciler.reconcile(KEY)
        cluster.observe()
        assert not cluster.reconciler.settled(KEY)
        cluster.reconciler.reconcile(KEY)
        assert cluster.requests == ["PATCH"] * 4, "each time applied, and what others added removed"

    def test_is_settled_when_the_api_server_fills_in_a_field_whatever_is_written(self, cluster: Cluster) -> None:
        cluster.skips_empty_writes = True
        cluster.others = {"fieldOfTomorrow": "a default of the CRD"}
        cluster.put(entry())
        cluster.reconciler.reconcile(KEY)
        cluster.observe()
        assert cluster.reconciler.settled(KEY)
        assert cluster.requests == ["PATCH", "PATCH"], "applied, and tried once to remove the field"

    def test_is_settled_after_a_foreign_field_is_removed(self, written: Cluster) -> None:
        written.edit(exportTo=["."])
        written.reconciler.reconcile(KEY)
        written.observe()
        assert written.reconciler.settled(KEY)

    def test_is_settled_once_it_is_deleted_and_gone(self, written: Cluster) -> None:
        written.observe()
        written.put(None)
        written.reconciler.reconcile(KEY)
        assert written.requests == ["PATCH", "DELETE"]
        assert not written.reconciler.settled(KEY)
        written.observe()
        assert written.reconciler.settled(KEY)


def test_an_object_that_is_changed_again_and_again_is_left_alone_for_a_while(cluster: Cluster) -> None:
    cluster.put(entry())
    cluster.reconciler.reconcile(KEY)
    cluster.observe()
    for _ in range(IMMEDIATE):
        cluster.edit(http=[])
        cluster.reconciler.reconcile(KEY)
        cluster.observe()
    cluster.edit(http=[])
    before = len(cluster.requests)
    with pytest.raises(Contested):
        cluster.reconciler.reconcile(KEY)
    assert len(cluster.requests) == before
    cluster.put(entry(exportTo=["."]))
    assert cluster.reconciler.reconcile(KEY).apply, "an edit of the entry is applied at once"


def test_workers_tell_once_who_changes_an_object_again_and_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = list[tuple[str, str]]()
    monkeypatch.setattr(cluster.events, "contested", lambda _owner, name, managers: told.append((name, managers)))
    monkeypatch.setattr(cluster.reconciler, "managers", lambda _key: ("kubectl-edit",))
    cluster.put(entry())
    workers = Workers(
        cluster.reconciler,
        cluster.events,
        ControllerMetrics(),
        UNTRACED,
        leadership=Leadership(),
        synced=lambda: True,
        count=1,
    )
    for _ in range(IMMEDIATE + 3):
        workers.work(KEY)
        cluster.observe()
        cluster.edit(http=[])
    assert len(cluster.requests) == IMMEDIATE + 1
    assert told == [("api.example.com", "kubectl-edit")]
    assert caplog.text.count("changed again and again by kubectl-edit") == 1
    assert workers.queue._due, "the key comes again"


def test_managers_are_the_other_field_managers_of_the_stored_object(cluster: Cluster) -> None:
    cluster.put(entry())
    cluster.reconciler.reconcile(KEY)
    cluster.observe()
    fields = [
        {"manager": "serviceentry-guard", "time": "2026-01-01T00:00:00Z"},
        {"manager": "helm", "time": "2026-01-01T00:00:00Z"},
        {"manager": "argocd", "time": "2026-01-02T00:00:00Z"},
        {},
    ]
    cluster._server.answers = [json_answer({"metadata": {"managedFields": fields}})]
    assert cluster.reconciler.managers(KEY) == ("argocd", "helm")
    cluster._server.answers = [json_answer({"kind": "Status", "code": 404, "reason": "NotFound"}, 404)]
    assert cluster.reconciler.managers(KEY) == ()


def test_a_successful_write_is_recorded_even_if_the_next_one_fails(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[str]()
    monkeypatch.setattr(cluster.events, "applied", lambda emitted, _before: told.append(emitted.kind))
    pool = {"http": {"idleTimeout": "30s"}}
    cluster.inventory.take_policy(guard_policy(destinationRule={"enabled": True, "connectionPool": pool}))
    cluster.put(entry())
    cluster.fails_from = 2
    with pytest.raises(ServerError):
        cluster.reconciler.reconcile(KEY)
    assert (cluster.requests, len(told)) == (["PATCH", "PATCH"], 1)


def test_workers_are_busy_in_a_burst_and_not_for_a_few_writes(cluster: Cluster) -> None:
    leadership = Leadership()
    leadership.begin()
    workers = Workers(
        cluster.reconciler,
        cluster.events,
        ControllerMetrics(),
        UNTRACED,
        leadership=leadership,
        synced=lambda: True,
        count=2,
    )
    cluster.may_answer.clear()
    hosts = [f"api-{number}.example.com" for number in range(BURST + 2)]
    keys = [Key("team", host) for host in hosts]
    cluster.put(entry(hosts=hosts))
    for key in keys[: BURST - 1]:
        workers.queue.add(key)
        assert not workers.busy(), "a few wait"
    for key in keys[BURST - 1 :]:
        workers.queue.add(key)
    assert workers.busy(), "many wait"
    workers.start()
    wait_until(lambda: len(cluster.requests) == 1, "one is written, which is the share of a namespace")
    assert workers.busy(), "the others wait"
    cluster.may_answer.set()
    wait_until(lambda: len(cluster.requests) == len(keys) and not workers.busy(), "all are written, and it is calm")
    workers.stop(5.0)
