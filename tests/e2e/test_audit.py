"""`audit` on a real cluster, as somebody who may list and nothing else."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from app.audit import Audit, connect
from app.core.policy.model import API_VERSION, KIND, default_policy
from app.core.routes.survey import Reviewed
from app.kube.client import Access, Client
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND, Controller
from tests.bed.processes import wait_until
from tests.command import run
from tests.depth import sized
from tests.e2e.team import HTTPS, ISTIO, Team

pytestmark = pytest.mark.e2e

NUMBERS = count(1)
READ = ("serviceentries", "virtualservices", "destinationrules")


@pytest.fixture(scope="module")
def auditor(cluster: ControlPlane) -> Path:
    """The kubeconfig of a user who may list the kinds that docs/audit.md names, and nothing else."""
    groups = {ISTIO: READ, "gateway.networking.k8s.io": ("httproutes",), "": ("namespaces",)}
    rules = [{"apiGroups": [group], "resources": names, "verbs": ["list"]} for group, names in groups.items()]
    metadata = {"name": "auditor"}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(role))
    cluster.kubectl("create", "clusterrolebinding", "auditor", "--clusterrole=auditor", "--user=auditor")
    return cluster.user_kubeconfig("auditor")


@pytest.fixture
def team(cluster: ControlPlane, admin: Client) -> Iterator[Team]:
    """A team whose objects are gone after the test."""
    team = Team.create(cluster, admin, f"team-{next(NUMBERS)}")
    yield team
    clear(team)


def clear(team: Team) -> None:
    """Delete all that a team has, in a call for each kind."""
    for plural in READ:
        team.kubectl("delete", f"--raw=/apis/{ISTIO}/v1/namespaces/{team.namespace}/{plural}")


def audit(kubeconfig: Path) -> Result:
    """Run the command."""
    return run("audit", f"--kubeconfig={kubeconfig}")


def reviewed(kubeconfig: Path) -> dict[str, Reviewed]:
    """What the audit finds, by the entries' names."""
    client = connect(Access(str(kubeconfig)))
    try:
        return {one.entry.key.name: one for one in Audit(client, default_policy())}
    finally:
        client.close()


def codes(found: dict[str, Reviewed]) -> dict[str, set[str]]:
    return {name: {finding.code for finding in one.findings} for name, one in found.items()}


def store(team: Team, number: int, resolution: str) -> None:
    def create(index: int) -> None:
        name = f"{resolution.lower()}-{index}"
        team.store(team.entry(name, hosts=[team.host(name)], resolution=resolution))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(number)))


@pytest.mark.sized
def test_an_audit_finds_entries_of_several_pages_wanting_and_once_the_guard_was_there_in_order(
    team: Team, auditor: Path, tmp_path: Path
) -> None:
    many, few = sized(deep=1000, usual=510), sized(deep=100, usual=10)
    store(team, many, "DNS")
    store(team, few, "NONE")
    before = audit(auditor)
    assert before.exit_code == 1, before.stderr
    outcomes = Counter(one.outcome for one in reviewed(auditor).values())
    assert outcomes == {"incomplete": many, "changed": few}
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, "existing": "Remediate"}))
    arguments = [f"--policy={policy}", "--no-leader-elect", "--remediation-rate=1000"]
    with Controller(team.control_plane, tmp_path, arguments) as controller:
        managed = ("serviceentry_guard_managed_objects", "VirtualService")
        wait_until(lambda: controller.metric(managed[0], kind=managed[1]) == many + few, "all are emitted", 120.0)
    after = audit(auditor)
    assert (after.exit_code, after.stderr) == (0, "")
    assert {one.outcome for one in reviewed(auditor).values()} == {"allowed"}


def test_an_empty_cluster_is_in_order(auditor: Path) -> None:
    assert audit(auditor).exit_code == 0


def test_every_finding_that_takes_company_is_made(cluster: ControlPlane, team: Team, auditor: Path) -> None:
    other = Team.create(cluster, team.client, f"other-{next(NUMBERS)}")
    claimed, shared, everywhere = (team.host(label) for label in ("claimed", "shared", "everywhere"))
    team.store(
        team.entry("compliant", hosts=[team.host("compliant")], ports=[HTTPS]),
        team.entry("missing", hosts=[team.host("missing")]),
        team.entry("unfixable", hosts=[team.host("unfixable")], resolution="NONE", addresses=["192.0.2.0/24"]),
        team.entry("claimed", hosts=[claimed], exportTo=["."]),
        team.foreign("theirs", claimed),
        team.entry("everywhere", hosts=[everywhere]),
    )
    other.store(other.entry("elsewhere", hosts=[everywhere]))
    team.store(team.entry("older", hosts=[shared]))
    created = team.stored("older")["metadata"]["creationTimestamp"]
    wait_until(lambda: younger(team, shared) > created, "the clock of creation has moved on")
    found = reviewed(auditor)
    clear(other)
    # Both may be of the same second: of two public entries for a host, the younger one's is seen at home only.
    confined = [name for name in ("everywhere", "elsewhere") if "SEG041" in codes(found)[name]]
    assert len(confined) == 1
    assert {name: found - {"SEG041"} for name, found in codes(found).items()} == {
        "compliant": {"SEG020"},
        "missing": {"SEG024"},
        "unfixable": {"SEG006"},
        "claimed": {"SEG021"},
        "everywhere": {"SEG024", "SEG026"},
        "elsewhere": {"SEG024", "SEG026"},
        "older": {"SEG024"},
        "younger": {"SEG022"},
    }
    assert found["unfixable"].outcome == "refused"
    assert found["claimed"].outcome == "allowed"


def younger(team: Team, host: str) -> str:
    """Create an entry anew, and return when the API server says that was: it counts in seconds."""
    team.kubectl("delete", "serviceentry", "younger", "--ignore-not-found")
    team.store(team.entry("younger", hosts=[host]))
    return str(team.stored("younger")["metadata"]["creationTimestamp"])


def test_an_edited_virtual_service_is_found(team: Team, auditor: Path, tmp_path: Path) -> None:
    team.store(team.entry())
    with Controller(team.control_plane, tmp_path, ["--no-leader-elect"]):
        team.virtual_service()
    assert audit(auditor).exit_code == 0
    team.patch(team.host(), {"spec": {"hosts": [team.host("elsewhere")]}})
    assert audit(auditor).exit_code == 1
    (finding,) = reviewed(auditor)["api"].lacking
    assert finding.message == f"VirtualService {team.namespace}/{team.host()} is not as the guard writes it"


def test_a_user_without_list_permission_gets_an_error_that_names_the_permission(cluster: ControlPlane) -> None:
    told = audit(cluster.user_kubeconfig("nobody"))
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    assert 'User "nobody" cannot list resource "serviceentries"' in told.stderr


def test_a_cluster_without_istio_crds_gets_an_error_that_names_the_crd(cluster: ControlPlane, auditor: Path) -> None:
    name = f"destinationrules.{ISTIO}"
    definition = cluster.kubectl("get", "crd", name, "--output=json").stdout
    cluster.kubectl("delete", "crd", name)
    try:
        wait_until(lambda: audit(auditor).exit_code == 2, "it is gone")
        told = audit(auditor)
    finally:
        cluster.kubectl("create", "--filename=-", stdin=definition)
        wait_until(lambda: listable(cluster, "destinationrules"), "it is there again")
    assert told.stderr == f"serviceentry-guard: the cluster does not know {name}: is Istio there?\n"


def listable(cluster: ControlPlane, plural: str) -> bool:
    return cluster.kubectl("get", plural, check=False).returncode == 0


def test_an_unreachable_api_server_gets_an_error_with_its_address(auditor: Path, tmp_path: Path) -> None:
    kubeconfig: dict[str, Any] = yaml.safe_load(auditor.read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(yaml.safe_dump(kubeconfig))
    told = audit(nowhere)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "serviceentries cannot be listed: https://127.0.0.1:1 (context bed) did not answer" in told.stderr


def test_without_a_flag_it_takes_the_kubeconfig_that_kubectl_would(auditor: Path) -> None:
    environment = {**os.environ, "KUBECONFIG": str(auditor)}
    told = subprocess.run([*COMMAND, "audit"], env=environment, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
