"""Reports of both kinds, on a real API server that has their real definitions, or has not."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.reports import Reporter
from app.core.resources.service_entry import Key, ServiceEntry
from app.kube.client import Client, Object
from app.kube.errors import NotFound
from app.kube.resources import REPORTS, Resource
from app.policyfile import PolicyFile
from app.telemetry.metrics import ControllerMetrics
from tests.bed.binaries import provide
from tests.bed.build import build, cached
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND, Controller
from tests.bed.processes import wait_until
from tests.bed.progress import Progress
from tests.bed.tools import OPEN_REPORTS, POLICY_REPORTS, REPORT_READER
from tests.e2e.team import HTTPS, SECONDS, Team

pytestmark = pytest.mark.e2e

NUMBERS = count(1)
NAME = "serviceentry-guard"
REPORT, POLICY_REPORT = REPORTS
DEFINITIONS = {REPORT: OPEN_REPORTS, POLICY_REPORT: POLICY_REPORTS}
NETWORK: dict[str, Any] = {"resolution": "NONE", "addresses": ["198.51.100.0/24"]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """A control plane of its own, without any definition of reports at first."""
    build(list(DEFINITIONS.values()), Progress(sys.stderr))
    with ControlPlane(provide()) as cluster:
        yield cluster


@pytest.fixture
def team(cluster: ControlPlane, admin: Client) -> Team:
    """A team; its entries are told to the reporter, and need not be stored."""
    return Team.create(cluster, admin, f"reported-{next(NUMBERS)}")


@pytest.fixture
def no_kind(cluster: ControlPlane) -> None:
    """Take both definitions away."""
    names = [f"{kind.plural}.{kind.group}" for kind in REPORTS]
    cluster.kubectl("delete", "crd", "--ignore-not-found", *names)
    for kind in REPORTS:
        wait_until(partial(_is_unknown, cluster, kind), "the kind is gone")


@pytest.fixture
def open_reports(cluster: ControlPlane) -> None:
    """Have the newer kind."""
    define(cluster, REPORT)


def _is_unknown(cluster: ControlPlane, kind: Resource) -> bool:
    return cluster.get(kind.path())[0] == 404


def define(cluster: ControlPlane, kind: Resource) -> None:
    """Have a kind, and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "--filename", cached(DEFINITIONS[kind]))
    wait_until(lambda: cluster.get(kind.path())[0] == 200, f"{kind.plural} are served")


@dataclass
class Shown:
    """What the report of a team says."""

    team: Team

    def stored(self, kind: Resource = REPORT) -> Object | None:
        """The report of the team, if it is there."""
        try:
            return self.team.client.get(kind, self.team.namespace, NAME)
        except NotFound:
            return None

    def expect(self, outcomes: Sequence[str], kind: Resource = REPORT) -> Object:
        """Wait until the report has these results."""

        def there() -> bool:
            return (stored := self.stored(kind)) is not None and _outcomes(stored) == list(outcomes)

        wait_until(there, f"the results are {outcomes}", SECONDS)
        return self.stored(kind) or {}


@dataclass
class Desk(Shown):
    """A reporter in this process, and what it is told."""

    reporter: Reporter
    inventory: Inventory
    entries: dict[str, ServiceEntry] = field(default_factory=dict)

    def put(self, name: str = "api", **spec: Any) -> None:
        """An entry came or changed."""
        metadata = {"uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        manifest = self.team.entry(name, metadata=metadata, **({"hosts": [self.team.host(name)]} | spec))
        self._tell(name, ServiceEntry.parse(manifest))

    def drop(self, name: str = "api") -> None:
        """An entry went."""
        self._tell(name, None)

    def _tell(self, name: str, entry: ServiceEntry | None) -> None:
        self.inventory.put_entry(self.entries.pop(name, None), entry)
        if entry:
            self.entries[name] = entry
        self.reporter.put(Key(self.team.namespace, name), entry)


def _outcomes(report: Object) -> list[str]:
    return [one["result"] for one in report["results"]]


@pytest.fixture
def desk(team: Team) -> Iterator[Desk]:
    """A reporter that leads."""
    with at_work(team) as desk:
        yield desk


@contextmanager
def at_work(
    team: Team, client: Client | None = None, delay: float = 0.05, survey_seconds: float = 0.2
) -> Iterator[Desk]:
    """Run a reporter; two of one team follow one another as leaders do."""
    leadership = Leadership()
    inventory = Inventory()
    reporter = Reporter(
        client or team.client,
        inventory,
        PolicyFile(None, lambda _taken: None),
        ControllerMetrics(),
        leadership=leadership,
        synced=lambda: True,
        delay=delay,
        survey_seconds=survey_seconds,
    )
    reporter.start()
    leadership.begin()
    try:
        yield Desk(team, reporter, inventory)
    finally:
        reporter.stop(SECONDS)


@pytest.mark.usefixtures("no_kind")
def test_reports_follow_the_kinds_that_the_cluster_knows(cluster: ControlPlane, desk: Desk) -> None:
    desk.put()
    define(cluster, POLICY_REPORT)
    older = desk.expect(["pass"], POLICY_REPORT)
    define(cluster, REPORT)
    newer = desk.expect(["pass"])
    wait_until(lambda: desk.stored(POLICY_REPORT) is None, "nothing is reported twice")
    assert {**older["results"][0], "timestamp": None} == {**newer["results"][0], "timestamp": None}


@pytest.mark.usefixtures("no_kind")
@pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.kind)
def test_the_types_that_the_makers_publish_read_all_of_a_report(
    cluster: ControlPlane, team: Team, kind: Resource
) -> None:
    build([REPORT_READER], Progress(sys.stderr))
    define(cluster, kind)
    with at_work(team) as desk:
        desk.put("fine")
        desk.put("network", **NETWORK)
        stored = desk.expect(["fail", "pass"], kind)
    done = subprocess.run([cached(REPORT_READER)], input=json.dumps(stored).encode(), capture_output=True, check=False)
    assert done.stderr == b""
    read = json.loads(done.stdout)
    assert read["namespace"] == team.namespace
    assert read["summary"] == {"error": 0, "fail": 1, "pass": 1, "skip": 0, "warn": 0}
    failed, passed = read["results"]
    for one, written in zip((failed, passed), stored["results"], strict=True):
        assert {name: one[name] for name in ("source", "policy", "rule", "result", "severity", "message")} == {
            name: written[name] for name in ("source", "policy", "rule", "result", "severity", "message")
        }
        assert one["seconds"] == written["timestamp"]["seconds"] > 0
    assert failed["resources"] == [f"ServiceEntry {team.namespace}/network"]
    assert failed["properties"]["remedy"].startswith("If clients call the host by its name")


@pytest.mark.usefixtures("open_reports")
class TestAReport:
    """Of the newer kind."""

    def test_it_says_how_each_entry_stands(self, desk: Desk) -> None:
        desk.put("fine")
        desk.put("network", **NETWORK)
        desk.put("old", resolution="NONE")
        stored = desk.expect(["fail", "warn", "pass"])
        assert stored["summary"] == {"error": 0, "fail": 1, "warn": 1, "skip": 0, "pass": 1}
        assert stored["metadata"]["labels"] == {"app.kubernetes.io/managed-by": NAME}
        assert {one["manager"] for one in stored["metadata"]["managedFields"]} == {NAME}
        table = desk.team.kubectl("get", "reports.openreports.io", NAME).stdout.split()
        assert table[-6:-1] == ["1", "1", "1", "0", "0"]  # pass, fail, warn, error, skip

    def test_it_goes_with_the_last_entry(self, desk: Desk) -> None:
        desk.put()
        desk.expect(["pass"])
        desk.drop()
        wait_until(lambda: desk.stored() is None, "it is gone", SECONDS)

    def test_many_changes_are_one_write(self, team: Team) -> None:
        with at_work(team) as desk:
            desk.put()
            desk.expect(["pass"])
        with at_work(team, delay=5.0, survey_seconds=600.0) as desk:
            # A leader that begins looks at all there is, and writes it at once: here it knows of no entry.
            wait_until(lambda: desk.stored() is None, "it has looked, and has deleted the report", SECONDS)
            for number in range(50):
                desk.put(f"api-{number}")
            assert desk.expect(["pass"] * 50)["metadata"]["generation"] == 1

    def test_the_next_leader_keeps_the_times_and_writes_nothing_that_is_so_already(self, team: Team) -> None:
        with at_work(team) as desk:
            desk.put()
            desk.put("other")
            before = desk.expect(["pass", "pass"])
        with at_work(team) as desk:
            desk.put()
            desk.put("other", resolution="NONE")
            after = desk.expect(["warn", "pass"])
            assert after["results"][1] == before["results"][0]
        with at_work(team) as desk:
            desk.put()
            desk.put("other", resolution="NONE")
            desk.put("marker")
            desk.expect(["warn", "pass", "pass"])
            desk.drop("marker")
            same = desk.expect(["warn", "pass"])
        assert same["results"] == after["results"]

    def test_the_next_leader_repairs_an_edited_report_and_deletes_a_leftover(self, team: Team) -> None:
        with at_work(team) as desk:
            desk.put()
            desk.expect(["pass"])
        team.kubectl("patch", "reports.openreports.io", NAME, "--type=merge", '--patch={"results": []}')
        with at_work(team) as desk:
            desk.put()
            desk.expect(["pass"])
        with at_work(team) as desk:
            wait_until(lambda: desk.stored() is None, "nothing is reported of what is gone", SECONDS)

    def test_one_that_was_deleted_comes_again_with_the_next_change(self, desk: Desk) -> None:
        desk.put()
        desk.expect(["pass"])
        desk.team.delete(NAME, REPORT)
        desk.put("other")
        desk.expect(["pass", "pass"])

    def test_a_foreign_report_of_that_name_stays_unchanged_until_it_is_deleted(self, desk: Desk) -> None:
        theirs = {
            "apiVersion": REPORT.api_version,
            "kind": REPORT.kind,
            "metadata": {"namespace": desk.team.namespace, "name": NAME},
            "results": [{"policy": "theirs", "result": "fail"}],
        }
        desk.team.client.create(REPORT, theirs)
        desk.put()
        failures = desk.reporter._queue.failures
        wait_until(lambda: failures(desk.team.namespace) >= 2, "it was tried", SECONDS)
        assert _outcomes(desk.stored() or {}) == ["fail"]
        desk.team.delete(NAME, REPORT)
        desk.expect(["pass"])

    def test_one_with_more_than_fits_is_stored_with_the_worst_and_counts_all(self, desk: Desk) -> None:
        desk.put("network", **NETWORK)
        for number in range(3000):
            # Without an HTTP port there is nothing to emit: no limit counts. Each has a note and a pass.
            desk.put(f"{number:04}-{'x' * 240}", hosts=[f"h{number}.example.com"], ports=[HTTPS])
        wait_until(lambda: ((desk.stored() or {}).get("summary") or {}).get("pass") == 3000, "all are counted", 120.0)
        stored = desk.stored() or {}
        kept = len(stored["results"])
        assert stored["results"][0]["result"] == "fail"
        assert stored["metadata"]["annotations"] == {"serviceentry-guard.io/results-left-out": str(6001 - kept)}
        assert 900_000 < len(json.dumps(stored["results"])) < 1_100_000

    def test_one_who_does_not_lead_any_more_writes_none(self, team: Team) -> None:
        fenced = team.client.fenced(lambda: 0.0)
        with at_work(team, fenced) as desk:
            desk.put()
            wait_until(lambda: desk.reporter._queue.failures(team.namespace) >= 1, "it was tried", SECONDS)
            assert desk.stored() is None


@pytest.mark.usefixtures("open_reports")
class TestTheController:
    """As a process."""

    @pytest.fixture
    def started(self, cluster: ControlPlane, tmp_path: Path) -> Callable[..., Controller]:
        """Makes a controller that leads at once."""
        return lambda *flags: Controller(cluster, tmp_path, ["--no-leader-elect", *flags])

    def test_the_report_has_stored_entries_and_host_conflicts(
        self, team: Team, started: Callable[..., Controller]
    ) -> None:
        hosts = [team.host()]
        with started() as controller:
            team.store(team.entry("fine", hosts=[team.host("fine")]), team.entry("network", hosts=hosts, **NETWORK))
            team.store(team.foreign("theirs", team.host("theirs")), team.entry("claimed", hosts=[team.host("theirs")]))
            shown = Shown(team)
            stored = shown.expect(["fail", "warn", "pass"])
            assert stored["results"][1]["rule"] == "SEG021-HostConflict"
            team.delete("theirs", Resource("networking.istio.io", "v1", "virtualservices", "VirtualService"))
            shown.expect(["fail", "pass", "pass"])
            assert "reports" in {one.labels["name"] for one in controller.samples("workqueue_depth")}

    def test_no_reports_disables_the_report_and_its_queue(self, team: Team, started: Callable[..., Controller]) -> None:
        with started("--no-reports") as controller:
            team.store(team.entry())
            team.virtual_service()
            assert {one.labels["name"] for one in controller.samples("workqueue_depth")} == {"emission", "remediation"}
            assert not controller.metric("workqueue_adds_total", name="reports")
            assert Shown(team).stored() is None


@pytest.mark.usefixtures("open_reports")
def test_uninstall_takes_the_reports_of_both_kinds_and_no_others(cluster: ControlPlane, team: Team) -> None:
    define(cluster, POLICY_REPORT)
    ours = {"namespace": team.namespace, "name": NAME, "labels": {"app.kubernetes.io/managed-by": NAME}}
    for kind in REPORTS:
        for metadata in (ours, {**ours, "name": "of-others"}):
            team.client.create(kind, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata})
    command = [*COMMAND, "uninstall", f"--kubeconfig={cluster.kubeconfig}", "--namespace=default"]
    subprocess.run(command, check=True)
    for kind in REPORTS:
        left = team.client.list_page(kind, team.namespace).items
        assert [one["metadata"]["name"] for one in left] == ["of-others"]
