"""Existing entries, patched on a server that answers as it is told."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from app.controller.entry_events import EntryEvents
from app.controller.leadership import Leadership
from app.controller.remediation import Remediator, Repairs
from app.core.resources.fields import JSON
from app.core.resources.records import replace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.patch import Operation, set_resolution
from app.core.rules.verdict import remediation
from app.kube.client import Client
from app.kube.events import EventRecorder
from app.telemetry.metrics import ControllerMetrics
from tests.bed.processes import wait_until
from tests.builders import HTTP, policy
from tests.unit.kube_server import Answer, Handler, Server, json_answer, running

REMEDIATE = {"existing": "Remediate"}
FAST = 1000.0


def manifest(name: str = "api", *, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    named = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "7", **(metadata or {})}
    given = {"hosts": [f"{name}.example.com"], "ports": [HTTP], **({"resolution": "NONE"} | spec)}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": named, "spec": given}


def status(code: int, reason: str, message: str = "told so") -> Answer:
    return json_answer({"kind": "Status", "reason": reason, "message": message}, code)


class ByPolicy:
    """Patches entries as the policy of a cluster says."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster

    def repair(self, entry: ServiceEntry, document: JSON = None) -> Sequence[Operation]:  # noqa: ARG002 - not needed
        return remediation(entry, self._cluster.policy)

    def patched(self, entry: ServiceEntry) -> None:
        """Keep nothing."""

    def reason(self, entry: ServiceEntry) -> str:  # noqa: ARG002 - not needed
        return "nothing is restored here"


class Restored:
    """Gives every entry NONE again."""

    def __init__(self) -> None:
        self.entries: list[ServiceEntry] = []

    def repair(self, entry: ServiceEntry, document: JSON = None) -> Sequence[Operation]:  # noqa: ARG002 - not needed
        return set_resolution("NONE", present=True) if entry.resolution == "DNS" else ()

    def patched(self, entry: ServiceEntry) -> None:
        self.entries.append(entry)

    def reason(self, entry: ServiceEntry) -> str:  # noqa: ARG002 - not needed
        return "a sibling keeps NONE"


class Cluster:
    """ServiceEntries behind a server, which takes JSON Patches of them; and a remediator of them."""

    def __init__(self, server: Server, kubeconfig: str) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.patches: list[tuple[float, str, list[Any]]] = []
        self.events: list[tuple[str, str, str]] = []
        self.refusals: dict[str, Answer] = {}
        self.turned_back: set[str] = set()
        self.policy = policy(**REMEDIATE)
        self.leadership = Leadership()
        self.leadership.begin()
        self.metrics = ControllerMetrics()
        self._server = server
        self._client = Client.from_kubeconfig(kubeconfig)
        server.answers = [self._answer]

    @contextmanager
    def remediator(
        self,
        rate: float = FAST,
        leadership: Leadership | None = None,
        repairs: Repairs | None = None,
    ) -> Iterator[Remediator]:
        """Run one that leads, or one that leads when told."""
        events = EventRecorder(self._client, "serviceentry-guard", "one", rate=FAST)
        remediator = Remediator(
            self._client,
            EntryEvents(events, self.leadership.leads),
            self.metrics,
            repairs or ByPolicy(self),
            leadership=leadership or self.leadership,
            rate=rate,
        )
        events.start()
        remediator.start()
        yield remediator
        remediator.stop(5.0)
        events.stop()

    def store(self, *manifests: dict[str, Any]) -> list[tuple[Key, ServiceEntry]]:
        """Store entries, and return what an informer would deliver of them."""
        self.stored |= {one["metadata"]["name"]: one for one in manifests}
        entries = [ServiceEntry.parse(one) for one in manifests]
        return [(entry.key, entry) for entry in entries]

    def resolution(self, name: str = "api") -> str:
        return str(self.stored[name]["spec"]["resolution"])

    def asked(self, method: str) -> int:
        return sum(1 for seen in self._server.seen if seen.method == method and "/serviceentries/" in seen.path)

    def counted(self, result: str) -> float:
        return float(
            self.metrics.registry.get_sample_value("serviceentry_guard_remediations_total", {"result": result}) or 0
        )

    def _answer(self, handler: Handler) -> None:
        path, _, query = handler.path.partition("?")
        name = path.rpartition("/")[2]
        if handler.command == "POST":
            event = self._body("POST")
            self.events.append((event["regarding"]["name"], event["reason"], event["note"]))
            json_answer(event)(handler)
        elif name not in self.stored:
            status(404, "NotFound")(handler)
        elif handler.command == "PATCH":
            assert "fieldManager=serviceentry-guard" in query
            self._patch(name, self._body("PATCH"))(handler)
        else:
            json_answer(self.stored[name])(handler)

    def _body(self, method: str) -> Any:
        """Decode the last request of a method: of each, one thread sends them."""
        return json.loads(next(seen.body for seen in reversed(self._server.seen) if seen.method == method))

    def _patch(self, name: str, patch: list[Any]) -> Answer:
        self.patches.append((monotonic(), name, patch))
        lock, change = patch
        entry = self.stored[name]
        if name in self.refusals:
            return self.refusals[name]
        if lock["value"] != entry["metadata"]["resourceVersion"]:
            return status(409, "Conflict")
        if name not in self.turned_back:
            entry["spec"]["resolution"] = change["value"]
        return json_answer(entry)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running() as server:
        yield Cluster(server, server.kubeconfig(tmp_path / "kubeconfig", {}))


def wait(condition: Callable[[], object], what: str) -> None:
    wait_until(lambda: bool(condition()), what, 10.0)


def test_an_entry_is_patched_at_its_resource_version_and_gets_one_event(cluster: Cluster) -> None:
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest()):
            remediator.put(*delivered)
        wait(lambda: cluster.events, "the event is there")
    ((_, _, patch),) = cluster.patches
    assert patch == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "replace", "path": "/spec/resolution", "value": "DNS"},
    ]
    note = "resolution was NONE and is DNS now: the policy says existing: Remediate"
    assert cluster.events == [("api", "Remediated", note)]
    assert (cluster.counted("patched"), cluster.counted("failed")) == (1, 0)


def test_a_restored_resolution_gets_an_event_with_the_reason(cluster: Cluster) -> None:
    restored = Restored()
    with cluster.remediator(repairs=restored) as remediator:
        for delivered in cluster.store(manifest(resolution="DNS")):
            remediator.put(*delivered)
        wait(lambda: cluster.events, "the event is there")
    assert cluster.resolution() == "NONE"
    assert cluster.events == [("api", "Remediated", "resolution was DNS and is NONE now: a sibling keeps NONE")]
    assert [one.key.name for one in restored.entries] == ["api"]


def test_siblings_of_a_changed_entry_are_checked_again(cluster: Cluster) -> None:
    cluster.policy = policy()
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest("one"), manifest("two")):
            remediator.put(*delivered)
        cluster.policy = policy(**REMEDIATE)
        remediator.touch_keys([Key("team", "one"), Key("team", "unknown")])
        wait(lambda: cluster.counted("patched") == 1, "it is patched")
    assert (cluster.resolution("one"), cluster.resolution("two")) == ("DNS", "NONE")


def test_an_entry_without_a_patch_costs_no_get(cluster: Cluster) -> None:
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest("done", resolution="DNS"), manifest("api")):
            remediator.put(*delivered)
        wait(lambda: cluster.resolution() == "DNS", "the other one is patched")
    assert cluster.asked("GET") == 1


def test_an_entry_that_someone_repaired_meanwhile_is_left(cluster: Cluster) -> None:
    with cluster.remediator() as remediator:
        ((key, old),) = cluster.store(manifest())
        cluster.store(manifest(resolution="DNS_ROUND_ROBIN"))
        remediator.put(key, old)
        wait(lambda: cluster.asked("GET"), "it is read")
    assert (cluster.patches, cluster.events, cluster.counted("failed")) == ([], [], 0)


@pytest.mark.parametrize("known", [True, False], ids=["known", "not yet known"])
def test_an_entry_that_is_gone_is_not_a_failure(cluster: Cluster, known: bool) -> None:
    with cluster.remediator() as remediator:
        (gone,), (there,) = cluster.store(manifest("gone")), cluster.store(manifest("there"))
        del cluster.stored["gone"]
        cluster.leadership.end()
        remediator.put(*gone)
        if known:
            remediator.put(gone[0], None)
        remediator.put(*there)
        cluster.leadership.begin()
        wait(lambda: cluster.resolution("there") == "DNS", "the other one is patched")
    assert cluster.asked("GET") == (1 if known else 2)
    assert cluster.counted("failed") == 0


def test_a_patch_over_an_outdated_version_is_computed_again(cluster: Cluster) -> None:
    with cluster.remediator() as remediator:
        ((key, old),) = cluster.store(manifest())
        cluster.refusals["api"] = status(409, "Conflict")
        remediator.put(key, old)
        wait(lambda: cluster.patches, "it was refused")
        cluster.store(manifest(metadata={"resourceVersion": "8"}))
        del cluster.refusals["api"]
        wait(lambda: cluster.resolution() == "DNS", "it is patched")
    assert [patch[0]["value"] for _, _, patch in cluster.patches] == ["7", "8"]
    assert [reason for _, reason, _ in cluster.events] == ["Remediated"]


@pytest.mark.parametrize("code", [400, 403, 422])
def test_an_entry_that_another_webhook_rejects_gets_an_event_and_a_retry_and_blocks_no_other(
    cluster: Cluster, code: int
) -> None:
    cluster.refusals["refused"] = status(code, "Forbidden", "admission webhook denied it")
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest("refused"), *(manifest(f"entry-{n}") for n in range(20))):
            remediator.put(*delivered)
        wait(lambda: cluster.counted("patched") == 20, "all others are patched")
        wait(lambda: cluster.counted("failed") >= 2, "it is tried again")
        del cluster.refusals["refused"]
        wait(lambda: cluster.resolution("refused") == "DNS", "it is patched once that is allowed")
        wait(lambda: cluster.events[-1][1] == "Remediated", "the event is there")
    told = [event for event in cluster.events if event[0] == "refused"]
    assert told[0] == ("refused", "RemediationRefused", "resolution stays NONE: admission webhook denied it")
    assert [reason for _, reason, _ in told] == ["RemediationRefused", "Remediated"]
    tries = [when for when, name, _ in cluster.patches if name == "refused"]
    assert tries[1] - tries[0] >= 0.5


def test_a_patch_that_another_webhook_reverts_counts_as_refused(cluster: Cluster) -> None:
    cluster.turned_back.add("api")
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest()):
            remediator.put(*delivered)
        wait(lambda: cluster.events, "the event is there")
        wait(lambda: len(cluster.patches) == 2, "it is tried again")
    assert cluster.events == [
        ("api", "RemediationRefused", "resolution stays NONE: another webhook reverted resolution DNS")
    ]
    assert cluster.counted("patched") == 0


def test_a_failure_of_the_api_server_is_not_a_rejection(cluster: Cluster) -> None:
    cluster.refusals["api"] = status(500, "InternalError")
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest()):
            remediator.put(*delivered)
        wait(lambda: cluster.counted("failed"), "it failed")
        del cluster.refusals["api"]
        wait(lambda: cluster.events, "it is patched")
    assert [reason for _, reason, _ in cluster.events] == ["Remediated"]


def test_a_bug_ends_neither_the_thread_nor_the_attempts(cluster: Cluster) -> None:
    cluster.refusals["api"] = json_answer({"kind": "ServiceEntry"})
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest()):
            remediator.put(*delivered)
        wait(lambda: cluster.counted("failed"), "it failed")
        del cluster.refusals["api"]
        wait(lambda: cluster.counted("patched"), "it is patched")


def test_only_a_leader_patches_and_a_new_leader_knows_all_that_is_left(cluster: Cluster) -> None:
    one, two, other = cluster.store(manifest("one"), manifest("two"), manifest("other"))
    promoted = Leadership()
    with cluster.remediator() as leader, cluster.remediator(leadership=promoted) as follower:
        follower.put(*one)
        follower.put(*two)
        leader.put(*one)
        leader.put(*other)
        wait(lambda: cluster.counted("patched") == 2, "the leader patched what it was told")
        assert cluster.resolution("two") == "NONE"
        follower.put(one[0], replace(one[1], resolution="DNS"))
        promoted.begin()
        wait(lambda: cluster.resolution("two") == "DNS", "the one that is left is patched")
    assert cluster.asked("GET") == 3


def test_no_more_than_the_rate_is_patched(cluster: Cluster) -> None:
    with cluster.remediator(rate=20.0) as remediator:
        for delivered in cluster.store(*(manifest(f"entry-{n}") for n in range(6))):
            remediator.put(*delivered)
        wait(lambda: cluster.counted("patched") == 6, "all are patched")
    assert cluster.patches[-1][0] - cluster.patches[0][0] >= 5 / 20.0 - 0.05


def test_a_new_policy_makes_it_check_every_entry_again(cluster: Cluster) -> None:
    cluster.policy = policy()
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest("one"), manifest("two"), manifest("three", resolution="DNS")):
            remediator.put(*delivered)
        cluster.policy = policy(**REMEDIATE)
        remediator.reconsider()
        wait(lambda: cluster.counted("patched") == 2, "both are patched")
    assert cluster.asked("GET") == 2


def test_a_policy_that_only_reports_ends_what_was_begun(cluster: Cluster) -> None:
    cluster.leadership.end()
    with cluster.remediator() as remediator:
        for delivered in cluster.store(manifest()):
            remediator.put(*delivered)
        cluster.policy = policy()
        cluster.leadership.begin()
        cluster.policy = policy(namespaces=[{"match": ["other"], **REMEDIATE}])
        (other,) = cluster.store(manifest("other", metadata={"namespace": "other"}))
        remediator.put(*other)
        wait(lambda: cluster.resolution("other") == "DNS", "the other one is patched")
    assert cluster.resolution() == "NONE"


def test_stop_does_not_wait_for_the_remaining_entries(cluster: Cluster) -> None:
    with cluster.remediator(rate=0.01) as remediator:
        for delivered in cluster.store(manifest("one"), manifest("two")):
            remediator.put(*delivered)
        wait(lambda: cluster.counted("patched") == 1, "the first is patched")
        began = monotonic()
        remediator.stop(60.0)
        assert monotonic() - began < 30.0, "the next one would be due in 100 s"
    assert cluster.resolution("two") == "NONE"
