"""The audit of a cluster, from a server that lists what it is given."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from app.audit import Audit, AuditError, connect
from app.cli import cli
from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from app.core.routes.survey import Reviewed
from app.kube.client import Access
from tests.builders import HTTP, HTTPS
from tests.unit.kube_server import Handler, Server, json_answer, running

PAGE = 2
"""Objects that the server gives at a time, however many are asked for."""


class Cluster:
    """What the server lists, a page at a time, as the API server does."""

    def __init__(self, server: Server, kubeconfig: str) -> None:
        self.server = server
        self.kubeconfig = kubeconfig
        self.objects: dict[str, list[Any]] = {
            plural: []
            for plural in ("serviceentries", "virtualservices", "destinationrules", "httproutes", "namespaces")
        }
        server.answers = [self._answer]

    def entry(self, name: str = "api", namespace: str = "team", **spec: Any) -> dict[str, Any]:
        """Store a ServiceEntry; what is not given is one host of its name, port 80/HTTP and resolution DNS."""
        metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "managedFields": [{"a": "b"}]}
        spec = {"hosts": [f"{name}.example.com"], "ports": [HTTP], "resolution": "DNS", **spec}
        return self._store("serviceentries", "ServiceEntry", metadata, spec)

    def foreign(self, name: str, *hosts: str, namespace: str = "team") -> None:
        """Store a VirtualService that is not the guard's, and routes its hosts for the mesh."""
        spec = {"hosts": list(hosts), "http": [{"route": [{"destination": {"host": "elsewhere.example.com"}}]}]}
        self._store("virtualservices", "VirtualService", {"name": name, "namespace": namespace}, spec)

    def http_route(self, entry: dict[str, Any]) -> None:
        """Store an HTTPRoute whose parent is an entry."""
        meta = entry["metadata"]
        parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": meta["name"]}
        metadata = {"name": "route", "namespace": meta["namespace"]}
        self._store("httproutes", "HTTPRoute", metadata, {"parentRefs": [parent]}, "gateway.networking.k8s.io/v1")

    def without_gateway_api(self) -> None:
        """Forget the type of HTTPRoutes, as a cluster without the Gateway API."""
        del self.objects["httproutes"]

    def emit(self, *entries: dict[str, Any]) -> None:
        """Store what the guard emits for entries that stand beside each other."""
        for emitted in desired(map(ServiceEntry.parse, entries), default_policy()).objects:
            self.objects["virtualservices"].append(emitted.manifest)

    def audit(self, **policy: Any) -> list[Reviewed]:
        """Audit it; without a policy, under the built-in one."""
        return list(Audit(connect(Access(str(self.kubeconfig))), _policy(policy)))

    def run(self, *arguments: str) -> Result:
        """Run the command."""
        return CliRunner().invoke(cli, ["audit", f"--kubeconfig={self.kubeconfig}", *arguments])

    def _store(
        self,
        plural: str,
        kind: str,
        metadata: dict[str, Any],
        spec: dict[str, Any],
        version: str = "networking.istio.io/v1",
    ) -> dict[str, Any]:
        manifest = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
        self.objects[plural].append(manifest)
        return manifest

    def _answer(self, handler: Handler) -> None:
        target = urlsplit(handler.path)
        start = int(parse_qs(target.query).get("continue", ["0"])[0])
        listed = self.objects.get(target.path.rpartition("/")[2])
        if listed is None:
            json_answer({"kind": "Status", "reason": "NotFound", "message": "no such type"}, 404)(handler)
            return
        more = {"continue": str(start + PAGE)} if len(listed) > start + PAGE else {}
        json_answer({"metadata": {"resourceVersion": "1", **more}, "items": listed[start : start + PAGE]})(handler)


def _policy(document: dict[str, Any]) -> GuardPolicy:
    return parse_policy({"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", **document})


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running() as server:
        yield Cluster(server, server.kubeconfig(tmp_path / "kubeconfig", {}))


def codes(one: Reviewed) -> list[str]:
    return [finding.code for finding in one.findings]


def test_all_pages_are_read_and_nothing_but_lists_is_asked_for(cluster: Cluster) -> None:
    names = [f"entry-{number}" for number in range(5)]
    for name in names:
        cluster.entry(name)
    assert [one.entry.key.name for one in cluster.audit()] == names
    paths = [urlsplit(seen.path).path.removeprefix("/apis/") for seen in cluster.server.seen]
    assert {seen.method for seen in cluster.server.seen} == {"GET"}
    istio = ["destinationrules", *["serviceentries"] * 3, "virtualservices"]
    assert sorted(paths) == [
        "/api/v1/namespaces",
        "gateway.networking.k8s.io/v1/httproutes",
        *(f"networking.istio.io/v1/{plural}" for plural in istio),
    ]


def test_an_entry_that_would_be_changed_shows_the_change_and_what_would_be_emitted(cluster: Cluster) -> None:
    cluster.entry(resolution="NONE")
    (one,) = cluster.audit()
    assert (one.outcome, codes(one)) == ("changed", ["SEG003"])
    assert one.stored["spec"]["resolution"] == "DNS"
    assert [emitted.key.name for emitted in one.emitted] == ["api.example.com"]


def test_an_entry_that_would_be_refused_shows_why(cluster: Cluster) -> None:
    cluster.entry(resolution="NONE", addresses=["10.0.0.0/8"])
    (one,) = cluster.audit()
    assert (one.outcome, codes(one), one.emitted) == ("refused", ["SEG006"], ())


def test_an_ended_exemption_has_a_finding_and_applies_until_the_next_write(cluster: Cluster) -> None:
    until = {
        "serviceentry-guard.io/exempt": "the vendor pins its addresses",
        "serviceentry-guard.io/exempt-until": "2027-03-31",
    }
    for name, day in (("kept", "2027-03-31"), ("written", "2027-04-01")):
        metadata = cluster.entry(name, resolution="NONE")["metadata"]
        fields = {"manager": "kubectl", "time": f"{day}T00:00:00Z", "fieldsV1": {"f:spec": {}}}
        metadata |= {"annotations": until, "creationTimestamp": "2027-01-01T00:00:00Z", "managedFields": [fields]}
    policy = _policy({"exemptions": {"annotation": "Allow"}}).on("2027-04-02")
    kept, written = Audit(connect(Access(str(cluster.kubeconfig))), policy)
    assert (kept.outcome, codes(kept)) == ("allowed", ["SEG002", "SEG047"])
    assert (written.outcome, codes(written)) == ("changed", ["SEG014", "SEG003"])


def test_an_entry_with_its_virtual_service_is_in_order(cluster: Cluster) -> None:
    cluster.emit(cluster.entry())
    (one,) = cluster.audit()
    assert (one.outcome, codes(one), one.emitted) == ("allowed", [], ())


def test_a_compliant_entry_without_its_virtual_service_is_incomplete(cluster: Cluster) -> None:
    cluster.entry(hosts=["a.example.com", "b.example.com"])
    (one,) = cluster.audit()
    assert (one.outcome, codes(one)) == ("incomplete", ["SEG024", "SEG024"])
    assert one.lacking[0].message == "VirtualService team/a.example.com is missing"


def test_a_virtual_service_that_was_edited_makes_its_entry_incomplete(cluster: Cluster) -> None:
    cluster.emit(cluster.entry())
    cluster.objects["virtualservices"][0]["spec"]["http"][0]["timeout"] = "1s"
    (one,) = cluster.audit()
    assert one.outcome == "incomplete"
    assert one.lacking[0].message == "VirtualService team/api.example.com is not as the guard writes it"


def test_a_destination_rule_that_the_policy_asks_for_may_be_missing_as_well(cluster: Cluster) -> None:
    cluster.emit(cluster.entry())
    (one,) = cluster.audit(destinationRule={"enabled": True})
    assert [finding.message for finding in one.lacking] == ["DestinationRule team/api.example.com is missing"]


def test_a_host_that_a_foreign_object_claims_is_a_conflict_and_nothing_is_missing(cluster: Cluster) -> None:
    cluster.entry()
    cluster.foreign("theirs", "*.example.com", namespace="other")
    (one,) = cluster.audit()
    assert (one.outcome, codes(one), one.emitted) == ("allowed", ["SEG021"], ())


def test_an_http_route_with_an_entry_as_its_parent_is_a_conflict_and_no_object_is_missing(cluster: Cluster) -> None:
    cluster.http_route(cluster.entry())
    (one,) = cluster.audit()
    assert (one.outcome, codes(one), one.emitted) == ("allowed", ["SEG021"], ())


def test_a_cluster_without_the_gateway_api_has_no_http_routes_to_look_at(cluster: Cluster) -> None:
    cluster.without_gateway_api()
    cluster.emit(cluster.entry())
    result = cluster.run()
    assert (result.exit_code, result.stderr) == (0, "")


def test_of_two_entries_with_one_host_the_newer_has_the_finding(cluster: Cluster) -> None:
    older, younger = (cluster.entry(name, hosts=["api.example.com"]) for name in ("z", "a"))
    older["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z"
    younger["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    cluster.emit(older)
    found = {one.entry.key.name: (one.outcome, codes(one)) for one in cluster.audit()}
    assert found == {"z": ("allowed", []), "a": ("allowed", ["SEG022"])}


def test_a_missing_object_of_a_shared_host_is_a_finding_on_its_owner_only(cluster: Cluster) -> None:
    for name in ("a", "z"):
        cluster.entry(name, hosts=["api.example.com"])
    found = {one.entry.key.name: (one.outcome, codes(one)) for one in cluster.audit()}
    assert found == {"a": ("incomplete", ["SEG024"]), "z": ("allowed", ["SEG022"])}


def test_a_refused_entry_counts_as_it_is_stored_because_the_cluster_has_it(cluster: Cluster) -> None:
    cluster.emit(cluster.entry(resolution="STATIC", endpoints=[{"address": "192.0.2.1"}]))
    (one,) = cluster.audit(resolution={"static": "Deny"})
    assert (one.outcome, codes(one), one.emitted) == ("refused", ["SEG011"], ())


def test_a_host_that_two_namespaces_export_to_the_whole_mesh_is_a_finding_on_both(cluster: Cluster) -> None:
    cluster.emit(*(cluster.entry(namespace=namespace) for namespace in ("one", "two")))
    first, second = cluster.audit()
    assert (first.outcome, codes(first)) == ("allowed", ["SEG026"])
    assert (second.outcome, codes(second)) == ("allowed", ["SEG026", "SEG041"])


def test_hosts_without_retries_have_a_finding(cluster: Cluster) -> None:
    cluster.emit(cluster.entry(ports=[HTTP, HTTPS]))
    assert codes(*cluster.audit()) == ["SEG020"]


def test_under_warn_nothing_is_missing(cluster: Cluster) -> None:
    cluster.entry()
    assert codes(*cluster.audit(mode="Warn")) == []


def test_the_report_omits_managed_fields(cluster: Cluster) -> None:
    cluster.entry(resolution="NONE")
    (one,) = cluster.audit()
    assert "managedFields" not in one.stored["metadata"]


@pytest.mark.parametrize(
    ("spec", "code"),
    [({}, 1), ({"resolution": "NONE"}, 1), ({"resolution": "NONE", "addresses": ["10.0.0.0/8"]}, 1)],
    ids=["incomplete", "changed", "refused"],
)
def test_the_command_exits_with_1_where_something_would_be_written_or_refused(
    cluster: Cluster, spec: dict[str, Any], code: int
) -> None:
    cluster.entry(**spec)
    assert cluster.run().exit_code == code


def test_the_command_exits_with_0_where_all_is_in_order(cluster: Cluster) -> None:
    cluster.emit(cluster.entry())
    result = cluster.run()
    assert result.exit_code == 0
    assert "ServiceEntry team/api allowed" in result.stdout


@pytest.mark.parametrize("output", ["text", "yaml", "json", "diff", "sarif", "junit", "html"])
def test_every_output_format_reports_a_cluster_with_the_same_exit_code(cluster: Cluster, output: str) -> None:
    cluster.entry(resolution="NONE")
    cluster.emit(cluster.entry("fine"))
    result = cluster.run(f"--output={output}")
    assert (result.exit_code, result.stderr) == (1, "")
    assert "DNS" in result.stdout


def test_the_json_report_counts_incomplete_entries(cluster: Cluster) -> None:
    cluster.entry()
    report = json.loads(cluster.run("--output=json").stdout)
    assert report["summary"] == {
        "entries": 1, "refused": 0, "changed": 0, "incomplete": 1, "allowed": 0, "emitted": 1,
    }  # fmt: skip
    assert [(one["source"], one["namespace"], one["name"]) for one in report["entries"]] == [("cluster", "team", "api")]


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        (403, "Forbidden", "serviceentries cannot be listed: told so"),
        (401, "Unauthorized", "serviceentries cannot be listed: told so"),
        (404, "NotFound", "the cluster does not know serviceentries.networking.istio.io: is Istio there?"),
        (500, "InternalError", "serviceentries cannot be listed: told so"),
    ],
)
def test_a_cluster_that_does_not_let_itself_be_read_is_one_sentence_and_exit_code_2(
    cluster: Cluster, status: int, reason: str, sentence: str
) -> None:
    cluster.server.answers = [json_answer({"kind": "Status", "reason": reason, "message": "told so"}, status)]
    result = cluster.run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"serviceentry-guard: {sentence}\n"


def test_a_list_that_breaks_off_after_the_first_page_gives_no_half_report(cluster: Cluster) -> None:
    for number in range(3):
        cluster.entry(f"entry-{number}")
    gone = json_answer({"kind": "Status", "reason": "Expired", "message": "too old"}, 410)
    cluster.server.answers = [*cluster.server.answers, gone]
    result = cluster.run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "serviceentries cannot be listed: too old" in result.stderr


def test_an_api_server_that_is_not_there_is_one_sentence_and_exit_code_2(cluster: Cluster) -> None:
    cluster.server.server_close()
    result = cluster.run()
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "did not answer" in result.stderr


def test_a_kubeconfig_that_is_not_there_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["audit", f"--kubeconfig={tmp_path / 'none'}"])
    assert (result.exit_code, result.stderr) == (
        2,
        f"serviceentry-guard: kubeconfig {tmp_path / 'none'} does not exist\n",
    )


def test_an_audit_can_be_read_again_and_knows_its_length(cluster: Cluster) -> None:
    cluster.entry()
    audit = Audit(connect(Access(str(cluster.kubeconfig))), default_policy())
    asked = len(cluster.server.seen)
    assert (len(audit), len(list(audit)), len(list(audit))) == (1, 1, 1)
    assert len(cluster.server.seen) == asked


def test_a_broken_kubeconfig_is_an_audit_error(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("[")
    with pytest.raises(AuditError, match="cannot be used"):
        connect(Access(str(tmp_path / "broken")))


def pod(namespace: str, *, injected: bool = True, phase: str = "Running", **labels: str) -> dict[str, Any]:
    annotations = {"sidecar.istio.io/status": "{}"} if injected else {}
    metadata = {"namespace": namespace, "name": "pod", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "status": {"phase": phase}}


def test_the_proxies_of_a_cluster_are_counted_by_what_they_know(cluster: Cluster) -> None:
    cluster.entry(resolution="NONE", ports=[HTTP, HTTPS])
    sidecar = {"metadata": {"namespace": "shop", "name": "default"}, "spec": {"egress": [{"hosts": ["./*"]}]}}
    web = {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"workloadSelector": {"labels": {"app": "web"}}}}
    pods = [
        pod("team"),
        pod("team", injected=False),
        pod("team", phase="Succeeded"),
        pod("shop"),
        pod("shop", app="web"),
    ]
    cluster.objects |= {"sidecars": [sidecar, web], "pods": pods}
    done = cluster.run("--proxies=cluster", "--ttl=2", "--output=json")
    dns = json.loads(done.stdout)["dns"]
    assert dns == {
        "proxies": 3,
        "ttlSeconds": 2,
        "queriesPerSecond": {"now": 0, "enforced": 2},
        "entries": [{"namespace": "team", "name": "api", "clusters": 2, "proxies": 2, "queries": 2}],
    }


def test_the_most_expensive_entries_have_a_finding_above_the_limit(cluster: Cluster, tmp_path: Path) -> None:
    cluster.entry()
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\ndns: {maxQueriesPerSecond: 5}\n")
    done = cluster.run("--proxies=team=100", "--proxies=shop=100", "--ttl=10", f"--policy={policy}")
    assert (
        "SEG049 spec.resolution: costs 20 of 20 DNS queries a second (1 cluster on 200 proxies, TTL 10 s)"
        in done.stdout
    )
    assert (
        "DNS: 200 proxies and a TTL of 10 s: 20 DNS queries a second now, 20 once the policy is enforced" in done.stdout
    )


@pytest.mark.parametrize("proxies", ["many", "shop=", "shop=-1", "99999999999"])
def test_an_invalid_number_of_proxies_is_an_error(cluster: Cluster, proxies: str) -> None:
    done = cluster.run(f"--proxies={proxies}")
    assert done.exit_code == 2
    assert f"--proxies: '{proxies}' is neither a number such as 500 nor a namespace with one" in done.stderr


@pytest.mark.parametrize("flag", ["--metrics-window=week", "--metrics-until=yesterday", "--suggest=policy"])
def test_flags_about_prometheus_say_what_they_look_like(cluster: Cluster, flag: str) -> None:
    done = cluster.run(flag)
    assert done.exit_code == 2
    assert "such as" in done.stderr or "--suggest needs --prometheus" in done.stderr


def test_the_audit_counts_stored_and_missing_objects_by_namespace(cluster: Cluster) -> None:
    cluster.emit(cluster.entry())
    cluster.entry("other", "shop")
    assert cluster.run().stdout.endswith(
        "Objects of the guard by namespace:\n  shop: 0 stored, 1 to write\n  team: 1 stored, 0 to write\n"
    )
