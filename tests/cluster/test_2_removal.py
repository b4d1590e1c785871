"""The release is uninstalled: before the disruptions, whose thousands of objects would take long to remove."""

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.release import NAMESPACE, Release


@pytest.mark.parametrize("kept", ["Keep", "Remove"])
def test_uninstall_leaves_only_the_kept_objects(release: Release, cluster: Cluster, kept: str) -> None:
    values = {"cleanup": {"virtualServices": kept}}
    if cluster.kubectl("get", "deployments", f"--namespace={NAMESPACE}", "--output=name"):
        release.upgrade(values)
    else:
        release.install(values)
    release.wait_until_ready()
    assert release.wait_until_repairing() <= {"NONE", "DNS"}
    name = f"uninstalled-{kept.lower()}"
    release.expect_repair(name, "team")
    release.uninstall()
    assert release.has_route(name, "team") == (kept == "Keep")
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "clusterroles"):
        left = cluster.kubectl("get", kind, "--selector=app.kubernetes.io/part-of=serviceentry-guard", "--output=name")
        assert left == ""
    for kind in ("secrets", "leases", "deployments", "jobs"):
        assert cluster.kubectl("get", kind, f"--namespace={NAMESPACE}", "--output=name") == ""
