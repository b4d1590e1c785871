"""`audit --prometheus` beside a real Prometheus that scrapes a mesh: known traffic in, exact sentences out."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.prometheus.client import Endpoint
from app.prometheus.client import Prometheus as Client
from app.prometheus.deadlines import read_deadlines
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND, HOST
from tests.bed.ports import free_port
from tests.bed.processes import wait_until
from tests.bed.require import require
from tests.observability.mesh import Mesh, exported
from tests.observability.prometheus import Prometheus
from tests.perf.api import Api

WEEK = ("--metrics-window=7d",)
PORTS = [{"number": 80, "name": "http", "protocol": "HTTP"}]
TLS = [{"number": 443, "name": "tls", "protocol": "TLS"}]


def traffic() -> Mesh:
    """The traffic that the tests know."""
    mesh = Mesh()
    mesh.calls("api.example.com", "shop", 46_706)
    mesh.calls("api.example.com", "shop", 1_494, "503", "UC")
    mesh.durations("api.example.com", "shop", {"1000": 42_416, "2500": 46_000, "10000": 48_190, "+Inf": 48_200})
    mesh.calls("slow.example.com", "team", 900)
    mesh.calls("slow.example.com", "shop", 100)
    mesh.durations("slow.example.com", "team", {"1000": 100, "2500": 100, "30000": 890, "60000": 900, "+Inf": 900})
    mesh.durations("slow.example.com", "shop", {"1000": 100, "+Inf": 100})
    reset = {"reporter": "source", "destination_service": "reset.example.com", "source_workload_namespace": "team"}
    reset |= {"destination_service_name": "reset.example.com", "response_flags": "-", "response_code": "200"}
    mesh.counter("istio_requests_total", reset, [0, 400, 900, 30, 100])
    mesh.calls("fine.example.com", "team", 5_000)
    mesh.durations("fine.example.com", "team", {"100": 5_000, "+Inf": 5_000})
    mesh.calls("fine.example.com", "team", 50, "504", "UT")
    mesh.connections("tls.example.com", "team", 1_200)
    mesh.elsewhere("vendor.example.net", "shop", 730, "PassthroughCluster")
    mesh.elsewhere("unknown", "team", 12, "BlackHoleCluster")
    mesh.calls("reviews.team.svc.cluster.local", "team", 9_999)
    return mesh


@dataclass
class Audited:
    """A cluster, and a Prometheus that knows the traffic of its mesh."""

    cluster: ControlPlane
    prometheus: Prometheus
    until: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Audit."""
        command = [*COMMAND, "audit", f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def asked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Audit with the figures of Prometheus."""
        done = self.run(f"--prometheus={self.prometheus.url}", *WEEK, f"--metrics-until={self.until}", *arguments)
        assert done.stderr == ""
        return done

    def hosts(self) -> dict[str, dict[str, Any]]:
        """What the report as JSON says of each host."""
        return {one["host"]: one for one in json.loads(self.asked("--output=json").stdout)["traffic"]["hosts"]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """A control plane of its own, with entries that nothing was emitted for yet."""
    with ControlPlane(provide()) as control_plane, Api(control_plane) as api:
        for namespace in ("team", "shop"):
            api.create_namespace(namespace)
        for name in ("api", "slow", "reset", "fine", "idle"):
            create(api, name, ports=PORTS)
        create(api, "tls", ports=TLS)
        yield control_plane


def create(api: Api, name: str, **spec: Any) -> None:
    """Store an entry in namespace team."""
    manifest = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": name}}
    hosts = {"hosts": [f"{name}.example.com"], "resolution": "NONE"}
    api.create_entry({**manifest, "spec": {**hosts, **spec}}, "team")


@pytest.fixture(scope="module")
def audited(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """All of it, once Prometheus has scraped the mesh."""
    mesh, program = traffic(), require("prometheus")
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(mesh.until))
    known = f"count(last_over_time(istio_requests_total[2h] @ {mesh.until}))"
    with exported(mesh) as port, Prometheus(program, tmp_path_factory.mktemp("mesh"), {"mesh": port}) as prometheus:
        wait_until(lambda: bool(prometheus.query(known)), "the mesh is scraped", 60.0)
        yield Audited(cluster, prometheus, until)


def test_the_sentences_give_the_figures_of_failures_and_slow_calls(audited: Audited) -> None:
    assert audited.hosts()["api.example.com"]["sentences"] == [
        "48,200 calls in 7 days (0.08 a second), from shop",
        "3.1 % of 48,200 calls ended with connection termination (UC): the recipe repairs these",
        (
            "4.6 % to 12 % of the calls take longer than 2s: each would be ended and repeated; "
            "serviceentry-guard.io/per-try-timeout: 10s keeps 99.9 % of them"
        ),
    ]


def test_calls_longer_than_all_tries_are_counted_by_namespace(audited: Audited) -> None:
    host = audited.hosts()["slow.example.com"]
    assert host["sentences"] == [
        "1,000 calls in 7 days (0.0017 a second), from team 90 %, shop 10 %",
        (
            "80 % of the calls take longer than 2s: each would be ended and repeated; "
            "serviceentry-guard.io/per-try-timeout: 60s keeps 99.9 % of them"
        ),
        (
            "1 % of the calls take longer than 30s: each would end with 504; "
            "serviceentry-guard.io/timeout: 60s keeps 99.9 % of them"
        ),
    ]
    callers = {one["namespace"]: one for one in host["callers"]}
    assert callers["shop"]["calls"] == 100
    assert [cut["most"] for cut in callers["team"]["cuts"]] == [800, 10]
    assert callers["shop"]["cuts"] == []


def test_a_counter_reset_keeps_the_calls_before_it(audited: Audited) -> None:
    assert audited.hosts()["reset.example.com"]["calls"] == 1_000


def test_a_host_that_nothing_calls_and_one_without_http_say_so(audited: Audited) -> None:
    hosts = audited.hosts()
    assert hosts["idle.example.com"]["sentences"] == ["no traffic in 7 days"]
    assert hosts["tls.example.com"]["sentences"] == [
        "1,200 connections in 7 days, from team: the sidecars see no HTTP in them, so nothing can be retried"
    ]


def test_calls_that_end_at_a_timeout_are_read_for_the_controller(audited: Audited) -> None:
    prometheus = Client(Endpoint(url=audited.prometheus.url))
    hosts = {"fine.example.com", "api.example.com"}
    now = read_deadlines(prometheus, "2h", hosts, ['reporter="source"'], ["cluster.local"])
    assert now.keys() == hosts
    assert now["fine.example.com"].share == pytest.approx(50 / 5050, rel=1e-3)  # Prometheus extrapolates to the window
    assert now["api.example.com"].ended == 0
    assert read_deadlines(prometheus, "1d offset 7d", hosts) == {}


def test_hosts_are_ordered_by_what_enforcement_changes(audited: Audited) -> None:
    called = [host for host, one in audited.hosts().items() if one["calls"]]
    assert called == ["api.example.com", "slow.example.com", "fine.example.com", "reset.example.com"]


def test_calls_without_an_entry_are_listed_and_those_to_services_are_not(audited: Audited) -> None:
    text = audited.asked().stdout
    assert (
        "  730 calls from shop to vendor.example.net were passed through (PassthroughCluster): "
        "no ServiceEntry names the host\n"
        "  12 calls from team to an unknown host were blocked (BlackHoleCluster): no ServiceEntry names the host\n"
    ) in text
    assert "  no traffic in 7 days: idle.example.com\n" in text
    assert "reviews" not in text


def test_annotations_are_suggested_as_yaml(audited: Audited) -> None:
    prefix = "serviceentry-guard.io/"
    suggested = {
        one["metadata"]["name"]: one for one in yaml.safe_load_all(audited.asked("--suggest=annotations").stdout)
    }
    assert suggested["api"] == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"namespace": "team", "name": "api", "annotations": {f"{prefix}per-try-timeout": "10s"}},
    }
    annotations = {f"{prefix}per-try-timeout": "60s", f"{prefix}timeout": "60s"}
    assert suggested["slow"]["metadata"]["annotations"] == annotations
    assert suggested.keys() == {"api", "slow"}


def test_a_suggested_policy_keeps_the_calls(audited: Audited, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(audited.asked("--suggest=policy").stdout)
    (layer,) = yaml.safe_load(file.read_text())["namespaces"]
    retries = {"perTryTimeout": "60s"}
    assert layer == {"match": ["team"], "virtualService": {"timeout": "60s", "retries": retries}}
    again = audited.asked("--suggest=policy", f"--policy={file}")
    assert again.stdout == "# Nothing to change: the policy keeps nearly all calls.\n"


def test_under_a_policy_that_only_warns_figures_are_those_of_enforcement(audited: Audited, tmp_path: Path) -> None:
    policy = tmp_path / "warn.yaml"
    policy.write_text("apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\nmode: Warn\n")
    text = audited.asked(f"--policy={policy}").stdout
    assert "0 refused, 0 changed, 6 allowed" in text
    assert "calls ended with connection termination (UC): the recipe repairs these" in text


def goes_on(done: subprocess.CompletedProcess[str]) -> str:
    """Check that the verdicts are there; return the one sentence on standard error."""
    assert done.returncode == 1
    assert "6 ServiceEntries reviewed: 0 refused, 6 changed, 0 allowed; 5 objects to emit\n" in done.stdout
    (sentence,) = done.stderr.splitlines()
    return sentence.partition("there are no figures of traffic: ")[2]


def test_a_prometheus_that_is_down_is_one_sentence(audited: Audited) -> None:
    url = f"http://{HOST}:{free_port()}"
    assert goes_on(audited.run(f"--prometheus={url}")) == f"Prometheus at {url} does not answer: Connection refused"


def test_a_prometheus_that_is_slow_is_one_sentence(audited: Audited) -> None:
    url = audited.prometheus.url
    audited.prometheus.pause()
    try:
        done = audited.run(f"--prometheus={url}", "--metrics-timeout=0.5")
    finally:
        audited.prometheus.resume()
    within = "does not answer within 0.5 s; a shorter --metrics-window asks for less"
    assert goes_on(done) == f"Prometheus at {url} {within}"


def test_a_prometheus_that_wants_credentials_is_one_sentence(audited: Audited, tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text(yaml.safe_dump({"basic_auth_users": {"somebody": "$2y$10$" + "." * 53}}))
    prometheus = Prometheus(require("prometheus"), tmp_path, {}, f"--web.config.file={web}", guarded=True)
    with prometheus:
        done = audited.run(f"--prometheus={prometheus.url}")
    refused = "rejects the credentials (401): set --prometheus-token-file"
    assert goes_on(done) == f"Prometheus at {prometheus.url} {refused}"


def test_a_prometheus_without_metrics_of_the_mesh_is_one_sentence(audited: Audited, tmp_path: Path) -> None:
    with Prometheus(require("prometheus"), tmp_path, {}) as prometheus:
        done = audited.run(f"--prometheus={prometheus.url}")
    lacking = "Prometheus has no istio_requests_total in 7 days; does it scrape the sidecars of the mesh?"
    assert goes_on(done) == lacking


def test_a_suggestion_without_figures_is_an_error(audited: Audited) -> None:
    done = audited.run(f"--prometheus=http://{HOST}:{free_port()}", "--suggest=policy")
    assert (done.returncode, done.stdout) == (2, "")
