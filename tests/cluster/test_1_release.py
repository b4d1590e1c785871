"""The chart on nodes that run its pods: installed, tested, upgraded. The tests follow each other."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.bed.processes import wait_until
from tests.cluster.cluster import Cluster
from tests.cluster.image import tag
from tests.cluster.load import entry
from tests.cluster.release import NAMESPACE, SECONDS, Release

FACTS: dict[str, float] = {}


def test_with_the_defaults_all_pods_are_ready_soon(release: Release, record_property: Any) -> None:
    """Within 15 s on an idle machine; a busy one is given longer. Without what the leader does it takes a minute."""
    seconds = release.install({})
    record_property("install_seconds", round(seconds, 1))
    print(f"\ncluster: installed, all pods ready after {seconds:.1f} s")
    nodes = [{pod["spec"]["nodeName"] for pod in release.pods(name)} for name in ("webhook", "controller")]
    assert nodes == [{"node-1", "node-2"}] * 2


def test_a_raw_entry_becomes_dns_and_its_virtual_service_appears(release: Release) -> None:
    assert release.wait_until_repairing() <= {"NONE", "DNS"}, "nothing that is repairable is refused before"
    seconds = release.expect_repair("first", "team")
    print(f"\ncluster: created and routed after {seconds:.1f} s")


def test_an_unfixable_entry_is_rejected_with_the_reason(cluster: Cluster) -> None:
    manifest = entry("broken", "team")
    manifest["spec"]["addresses"] = ["198.51.100.0/24"]
    refused = cluster.plane.kubectl("create", "--filename=-", stdin=json.dumps(manifest), check=False)
    assert refused.returncode == 1
    assert "serviceentry-guard" in refused.stderr


def test_failures_refuse_once_the_webhook_has_answered(cluster: Cluster) -> None:
    def failure_policy() -> str:
        found = cluster.get("validatingwebhookconfiguration", "serviceentry-guard")
        return str(found["webhooks"][0]["failurePolicy"])

    wait_until(lambda: failure_policy() == "Fail", "the controller has seen the webhook answer", SECONDS)


def test_helm_test_shows_what_the_doctor_says(release: Release) -> None:
    said = release.test()
    assert "The guard works." in said
    assert "Phase:          Succeeded" in said


def test_helm_test_needs_no_cluster_dns(release: Release, cluster: Cluster) -> None:
    def scale(replicas: int) -> None:
        cluster.kubectl("scale", "deployment", "coredns", "--namespace=kube-system", f"--replicas={replicas}")
        wait_until(lambda: available(cluster, "coredns") == replicas, f"{replicas} pods of DNS are available", SECONDS)

    scale(0)
    try:
        said = release.test()
    finally:
        scale(1)
    assert "The guard works." in said
    assert "succeeds with the current caBundle" in said


def available(cluster: Cluster, name: str) -> int:
    """How many pods of a Deployment of the cluster's own are available."""
    return int(cluster.get("deployment", name, "--namespace=kube-system")["status"].get("availableReplicas", 0))


def test_a_policy_value_is_in_force_on_all_pods_without_a_restart(release: Release) -> None:
    before = {pod["metadata"]["uid"] for pod in release.pods("webhook")}
    enforce(release, {})
    assert before == {pod["metadata"]["uid"] for pod in release.pods("webhook")}


def test_a_policy_and_an_image_that_change_together_refuse_nothing_repairable(
    release: Release, cluster: Cluster
) -> None:
    for node in cluster.nodes:
        node.tag(f"docker.io/library/serviceentry-guard:{tag()}", "docker.io/library/serviceentry-guard:next")
    enforce(release, {"image": {"tag": "next"}})
    images = {pod["spec"]["containers"][0]["image"] for pod in release.pods("webhook")}
    assert images == {"serviceentry-guard:next"}


def enforce(release: Release, values: Mapping[str, Any]) -> None:
    """Upgrade from Warn to Enforce and to other values: entries are repaired or left as they are, and never refused."""
    release.upgrade({"policy": {"mode": "Warn"}})
    wait_until(lambda: release.rehearse() == "NONE", "nothing is changed any more", SECONDS)
    began = time.monotonic()
    release.upgrade({"policy": {"mode": "Enforce"}, **values})
    outcomes = list[str]()

    def enforced() -> bool:
        outcomes.append(release.rehearse())
        return outcomes[-20:] == ["DNS"] * 20 and release.is_ready()

    wait_until(enforced, "all pods are ready and enforce", SECONDS)
    print(f"\ncluster: Enforce was in force on all pods {time.monotonic() - began:.1f} s after the upgrade began")
    assert set(outcomes) <= {"NONE", "DNS"}, "nothing that is repairable is refused meanwhile"


WRITE = """
import pathlib, sys
for name in ("named", "variable", "home/.kube/config"):
    path = pathlib.Path("/dev/shm", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sys.argv[1].replace("NAME", name.partition("/")[0]))
"""
"""Writes a kubeconfig for each way to name one, to the only place of the pod that can be written to."""
KUBECONFIG = json.dumps({
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "clusters": [{"name": "a", "cluster": {"server": "https://NAME.invalid"}}],
    "users": [{"name": "a", "user": {}}],
})  # fmt: skip
HOME, VARIABLE, FLAG = "HOME=/dev/shm/home", "KUBECONFIG=/dev/shm/variable", "--kubeconfig=/dev/shm/named"


@pytest.fixture(scope="module")
def pod(release: Release) -> str:
    """A pod of the controller that has a kubeconfig at each place."""
    name = str(release.pods("controller")[0]["metadata"]["name"])
    release.cluster.kubectl("exec", name, f"--namespace={NAMESPACE}", "--", "python3", "-c", WRITE, KUBECONFIG)
    return name


def audit_in(pod: str, cluster: Cluster, variables: list[str], *flags: str) -> tuple[str, str]:
    """What an audit in a pod prints, and what it says of failures."""
    run = ("exec", pod, f"--namespace={NAMESPACE}", "--", "env", *variables)
    done = cluster.plane.kubectl(*run, "serviceentry-guard", "audit", *flags, check=False)
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("variables", "flags", "used"),
    [
        ([HOME, VARIABLE], [FLAG], "named.invalid"),
        ([HOME, VARIABLE], [], "variable.invalid"),
        ([HOME], [], "home.invalid"),
        ([HOME, "KUBECONFIG="], [], "home.invalid"),
    ],
)
def test_in_a_pod_a_kubeconfig_goes_first_in_the_order_of_kubectl(
    pod: str, cluster: Cluster, variables: list[str], flags: list[str], used: str
) -> None:
    assert used in audit_in(pod, cluster, variables, *flags)[1]


@pytest.mark.parametrize("variables", [[], ["KUBECONFIG=/dev/shm/none"]])
def test_in_a_pod_without_a_kubeconfig_its_service_account_is_used(
    pod: str, cluster: Cluster, variables: list[str]
) -> None:
    said, complaint = audit_in(pod, cluster, variables)
    assert "first" in said, complaint


def test_pods_stay_within_what_they_ask_for(release: Release, cluster: Cluster) -> None:
    """As the kubelet measures them."""
    asked = {"webhook": 96, "controller": 128}
    for component, mebibytes in asked.items():
        for pod in release.pods(component):
            used = working_set(cluster, pod) / 2**20
            print(f"\ncluster: {pod['metadata']['name']} uses {used:.0f} MiB of {mebibytes} requested")
            assert used < mebibytes


def working_set(cluster: Cluster, pod: Any) -> int:
    """Bytes that the kubelet has measured for a pod, once it has."""
    path = f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/stats/summary"
    found = list[int]()

    def measured() -> bool:
        summary = json.loads(cluster.plane.get(path)[1])
        ours = [one for one in summary["pods"] if one["podRef"]["uid"] == pod["metadata"]["uid"]]
        found.extend(one["memory"]["workingSetBytes"] for one in ours if one.get("memory", {}).get("workingSetBytes"))
        return bool(found)

    wait_until(measured, "the kubelet has measured the pod", SECONDS)
    return found[-1]
