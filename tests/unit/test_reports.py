"""Reports on a server that answers as it is told: what a healthy API server does not do, or not when it is wanted."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.reports import Reporter
from app.core.resources.records import replace
from app.core.resources.service_entry import ServiceEntry
from app.kube.client import Client
from app.policyfile import PolicyFile
from app.telemetry.metrics import ControllerMetrics
from tests.bed.processes import wait_until
from tests.unit.kube_server import Answer, Handler, Server, json_answer, running

ENTRY = ServiceEntry.parse(
    {
        "metadata": {"name": "api", "namespace": "team", "uid": "u"},
        "spec": {
            "hosts": ["api.example.com"],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "DNS",
        },
    }
)
POLICY = "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n"


class Cluster:
    """Reports behind a server; the next requests of a method are answered with what `faults` has for it."""

    def __init__(self, server: Server) -> None:
        self.reports: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, list[Answer]] = {"GET": [], "PATCH": []}
        self.synced = True
        self._server = server
        server.answers = [self._answer]

    def asked(self, method: str, group: str = "openreports.io") -> int:
        """How often."""
        return sum(1 for seen in self._server.seen if seen.method == method and group in seen.path)

    def _answer(self, handler: Handler) -> None:
        if faults := self.faults.get(handler.command):
            faults.pop(0)(handler)
        elif "wgpolicyk8s" in handler.path:
            refusal(404, "NotFound")(handler)
        elif handler.command == "GET":
            json_answer({"items": list(self.reports.values()), "metadata": {}})(handler)
        else:
            body = json.loads(self._server.seen[-1].body)
            body["metadata"] |= {"uid": "1", "resourceVersion": "2"}
            self.reports[body["metadata"]["namespace"]] = body
            json_answer(body)(handler)


def refusal(status: int, reason: str) -> Answer:
    return json_answer({"kind": "Status", "reason": reason, "message": "told so"}, status)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as server:
        yield Cluster(server)


@contextmanager
def reporter(
    cluster: Cluster, folder: Path, inventory: Inventory | None = None, policy: PolicyFile | None = None
) -> Iterator[Reporter]:
    leadership = Leadership()
    leadership.begin()
    client = Client.from_kubeconfig(cluster._server.kubeconfig(folder / "kubeconfig", {}))
    one = Reporter(
        client,
        inventory or Inventory(),
        policy or PolicyFile(None, lambda _taken: None),
        ControllerMetrics(),
        leadership=leadership,
        synced=lambda: cluster.synced,
        delay=0.01,
        survey_seconds=0.05,
    )
    one.put(ENTRY.key, ENTRY)
    one.start()
    yield one
    one.stop(5.0)


def wait_for_the_report(cluster: Cluster) -> None:
    wait_until(lambda: "team" in cluster.reports, "there is a report", 10.0)


def test_who_may_not_list_reports_says_so_once(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.faults["GET"] = [refusal(403, "Forbidden")] * 6
    with reporter(cluster, tmp_path):
        wait_for_the_report(cluster)
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.partition(":")[0] for one in warnings] == [
        "not writing reports as Report of openreports.io/v1alpha1",
        "not writing reports as PolicyReport of wgpolicyk8s.io/v1alpha2",
    ]


def test_an_api_server_that_is_down_for_a_moment_keeps_nothing_from_being_written(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.faults = {"GET": [refusal(500, "InternalError")], "PATCH": [refusal(429, "TooManyRequests")]}
    with reporter(cluster, tmp_path):
        wait_for_the_report(cluster)
    assert cluster.asked("PATCH") == 2


def test_a_bug_in_one_report_does_not_end_the_others(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inventory = Inventory()
    monkeypatch.setattr(inventory, "neighbours", lambda _key: 1 / 0)
    with reporter(cluster, tmp_path, inventory):
        wait_until(lambda: "unexpected error in reports of team" in caplog.text, "it is told", 10.0)
        monkeypatch.undo()
        wait_for_the_report(cluster)


def test_nothing_is_asked_or_written_before_everything_was_observed(cluster: Cluster, tmp_path: Path) -> None:
    cluster.synced = False
    with reporter(cluster, tmp_path) as one:
        wait_until(lambda: len(one._queue) == 1, "there is something to write", 10.0)
        assert not cluster.asked("GET")
        cluster.synced = True
        wait_for_the_report(cluster)


def test_another_policy_is_a_reason_to_look_again(cluster: Cluster, tmp_path: Path) -> None:
    def result() -> str:
        return str(cluster.reports.get("team", {"results": [{"result": ""}]})["results"][0]["result"])

    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    policy = PolicyFile(file, lambda _taken: None)
    with reporter(cluster, tmp_path, policy=policy) as one:
        one.put(ENTRY.key, replace(ENTRY, resolution="NONE", addresses=("198.51.100.0/24",)))
        wait_until(lambda: result() == "fail", "it fails", 10.0)
        file.write_text(f"{POLICY}mode: Warn\n")
        wait_until(policy.poll, "the change is seen", 10.0)
        one.reconsider()
        wait_until(lambda: result() == "warn", "it is a warning", 10.0)
