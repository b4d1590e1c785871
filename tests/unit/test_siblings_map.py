"""The entries that keep their resolution, from the controller to the webhook: a ConfigMap, and the file it becomes."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.controller.pod_files import SIBLINGS_ROOM, siblings_document
from app.controller.siblings import ATTEMPTS
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.kept_resolutions import Stays, parse_standing
from app.webhook.mounted import SiblingsFile
from tests import builders
from tests.builders import HOST, HTTP, applied
from tests.unit.siblings_cluster import Cluster

SSH = {"number": 22, "name": "ssh", "protocol": "TCP"}
STAYS = {("team", "api.example.com"): (Stays("ssh", "NONE", "port 22 (TCP)"),)}


def entry(name: str, port: dict[str, Any] = HTTP, **spec: Any) -> ServiceEntry:
    return builders.entry(name, **{"resolution": "NONE", "ports": [port], **spec})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "siblings.json"


def test_the_webhook_reads_the_document_of_the_controller(path: Path) -> None:
    path.write_text(siblings_document(STAYS))
    assert SiblingsFile(path).current == STAYS


def test_the_file_is_followed_as_it_comes_changes_and_goes(path: Path) -> None:
    siblings = SiblingsFile(path)
    assert siblings.current == {}
    path.write_text(siblings_document(STAYS))
    siblings.poll()
    assert siblings.current == STAYS
    path.unlink()
    siblings.poll()
    assert siblings.current == {}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"team": []}', b'{"team": {"a.b": [["x"]]}}', b'{"team": {"a.b": 1}}']
)
def test_an_invalid_file_is_logged_and_the_siblings_stay_as_they_were(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(siblings_document(STAYS))
    siblings = SiblingsFile(path)
    path.write_bytes(content)
    siblings.poll()
    assert siblings.current == STAYS
    assert "is not valid" in caplog.text


def test_without_a_file_no_entry_is_known() -> None:
    assert SiblingsFile(None).current == {}


def test_the_config_map_stays_within_its_size_and_a_log_line_counts_the_omitted_hosts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    many = {("team", f"{number}.example.com"): (Stays("x" * 200, "NONE", "port 22 (TCP)"),) for number in range(8000)}
    text = siblings_document(many)
    assert len(text) <= SIBLINGS_ROOM
    assert len(parse_standing(json.loads(text))) > 3000
    assert "of 8000 hosts" in caplog.text


def test_a_namespace_with_very_many_hosts_leaves_room_in_the_config_map_for_those_of_others() -> None:
    stays = (Stays("x" * 200, "NONE", "port 22 (TCP)"),)
    many = {("aaa", f"{number}.example.com"): stays for number in range(8000)}
    few = {("zzz", f"{number}.example.org"): stays for number in range(20)}
    written = parse_standing(json.loads(siblings_document(many | few)))
    assert few.keys() <= written.keys()


def test_an_entry_is_restored_only_a_few_times_if_another_client_changes_it_again(cluster: Cluster) -> None:
    cluster.put(None, entry("ssh", SSH))
    none, dns = entry("web"), entry("web", resolution="DNS")
    cluster.put(None, none)
    for _ in range(ATTEMPTS):
        cluster.put(none, dns)
        assert cluster.siblings.repair(dns) == ({"op": "replace", "path": "/spec/resolution", "value": "NONE"},)
        cluster.siblings.patched(dns)
        cluster.put(dns, none)
        assert cluster.siblings.repair(none) == ()
    cluster.put(none, dns)
    assert cluster.siblings.repair(dns) == ()


def test_another_change_of_an_entry_does_not_keep_it_from_being_put_back(cluster: Cluster) -> None:
    cluster.put(None, entry("ssh", SSH))
    none, dns = entry("web"), entry("web", resolution="DNS")
    cluster.put(None, none)
    cluster.put(none, dns)
    changed = entry("web", {**HTTP, "number": 81}, resolution="DNS")
    cluster.put(dns, changed)
    assert cluster.siblings.repair(changed)[0]["value"] == "NONE"


def written(**spec: Any) -> Any:
    """A stored entry as it is read, with what its author applied last."""
    return applied({"spec": spec})


@pytest.mark.parametrize(
    ("document", "restored"),
    [
        (None, True),
        (written(resolution="DNS"), False),
        (written(hosts=[HOST]), True),
        (written(), True),
        (applied({}, "{"), True),
    ],
)
def test_a_new_entry_is_put_back_to_what_its_sibling_has_unless_its_author_wrote_it(
    cluster: Cluster, document: Any, restored: bool
) -> None:
    cluster.put(None, entry("ssh", SSH))
    dns = entry("web", resolution="DNS")
    cluster.put(None, dns)
    assert bool(cluster.siblings.repair(dns, document)) == restored


def test_a_resolution_changed_without_a_controller_is_restored_if_the_author_did_not_write_it() -> None:
    dns = entry("web", resolution="DNS")
    for document in (written(hosts=[HOST]), written(resolution="NONE")):
        cluster = Cluster(entry("ssh", SSH), dns)
        assert cluster.siblings.repair(dns, document)[0]["value"] == "NONE"


@pytest.mark.parametrize("document", [written(resolution="DNS"), written(resolution="STATIC"), {"spec": {}}])
def test_entries_older_than_the_controller_keep_their_resolution(document: Any) -> None:
    dns = entry("web", resolution="DNS")
    cluster = Cluster(entry("ssh", SSH), dns)
    assert cluster.siblings.repair(dns, document) == ()
    assert cluster.siblings.repair(dns) == ()


def test_an_entry_that_was_changed_before_a_sibling_came_is_restored_if_the_author_did_not_write_it(
    cluster: Cluster,
) -> None:
    dns = entry("web", resolution="DNS")
    cluster.put(None, dns)
    assert cluster.siblings.repair(dns, written(resolution="NONE")) == ()
    assert "web" in cluster.put(None, entry("ssh", SSH))
    assert cluster.siblings.repair(dns, written(resolution="DNS")) == ()
    assert cluster.siblings.repair(dns) == (), "it is read once, as long as nobody changes it"
    changed = entry("web", {**HTTP, "number": 81}, resolution="DNS")
    cluster.put(dns, changed)
    assert cluster.siblings.repair(changed, written(resolution="NONE"))[0]["value"] == "NONE"


def test_an_entry_is_not_restored_once_the_sibling_is_gone(cluster: Cluster) -> None:
    dns, ssh = entry("web", resolution="DNS"), entry("ssh", SSH)
    cluster.put(None, dns)
    cluster.put(None, ssh)
    assert cluster.siblings.repair(dns)
    cluster.put(ssh, None)
    assert cluster.siblings.repair(dns, written(resolution="NONE")) == ()


def test_where_the_policy_only_reports_nothing_is_put_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("{apiVersion: serviceentry-guard.io/v1alpha1, kind: GuardPolicy, existing: Report}")
    cluster, none, dns = Cluster(entry("ssh", SSH), policy=policy), entry("web"), entry("web", resolution="DNS")
    cluster.put(None, none)
    cluster.put(none, dns)
    assert cluster.siblings.repair(dns) == ()
    assert cluster.judge(dns, cluster.policy.current).codes == ("SEG040",)


def test_stored_siblings_with_different_resolutions_have_findings_that_name_each_other(cluster: Cluster) -> None:
    ssh, none, dns = entry("ssh", SSH), entry("web"), entry("web", resolution="DNS")
    cluster.put(None, ssh)
    cluster.put(None, none)
    cluster.put(none, dns)
    assert cluster.siblings.news() == {ssh.key, dns.key}
    verdicts = [cluster.judge(one, cluster.policy.current) for one in (ssh, dns)]
    assert ["SEG040" in verdict.codes and bool(verdict.unfixable) for verdict in verdicts] == [True, True]
    cluster.put(ssh, None)
    assert cluster.siblings.news() == {dns.key}
    assert cluster.judge(dns, cluster.policy.current).codes == ()


def test_a_changed_sibling_is_reported_once_and_a_new_entry_is_not(cluster: Cluster) -> None:
    none = entry("web")
    cluster.put(None, none)
    cluster.put(None, entry("ssh", SSH))
    assert cluster.siblings.news() == {none.key}
    assert cluster.siblings.news() == set()
    cluster.put(None, entry("other", {**HTTP, "number": 81}))
    assert cluster.siblings.news() == set()


def test_an_entry_is_brought_along_only_once_another_of_its_host_has_the_resolution(cluster: Cluster) -> None:
    first, second = entry("first"), entry("second", {**HTTP, "number": 8080})
    cluster.put(None, first)
    cluster.put(None, second)
    assert cluster.siblings.repair(second) == ()
    assert "second" in cluster.put(first, entry("first", resolution="DNS"))
    assert cluster.siblings.repair(second)[0]["value"] == "DNS"


def test_siblings_of_an_entry_that_goes_are_looked_at_again(cluster: Cluster) -> None:
    ssh = entry("ssh", SSH)
    cluster.put(None, ssh)
    cluster.put(None, entry("web"))
    assert cluster.siblings.standing().keys() == {("team", "api.example.com")}
    assert cluster.put(ssh, None) == {"web"}
    assert cluster.siblings.standing() == {}
