"""The end of the release, and of the cluster."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bed.processes import wait_until
from tests.cluster.cluster import Cluster
from tests.cluster.release import NAMESPACE, SECONDS, Release
from tests.cluster.traces import Traces, namespaces_of, processes_of
from tests.image.build import ROOT

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


@pytest.mark.parametrize("kept", ["Keep", "Remove"])
def test_uninstall_leaves_nothing_but_what_is_kept(release: Release, cluster: Cluster, kept: str) -> None:
    values = {"cleanup": {"virtualServices": kept}}
    if cluster.kubectl("get", "deployments", f"--namespace={NAMESPACE}", "--output=name"):
        release.upgrade(values)
    else:
        release.install(values)
    release.wait_until_ready()
    name = f"uninstalled-{kept.lower()}"
    release.expect_repair(name, "team")
    release.uninstall()
    assert release.has_route(name, "team") == (kept == "Keep")
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "clusterroles"):
        left = cluster.kubectl("get", kind, "--selector=app.kubernetes.io/part-of=serviceentry-guard", "--output=name")
        assert left == ""
    for kind in ("secrets", "leases", "deployments", "jobs"):
        assert cluster.kubectl("get", kind, f"--namespace={NAMESPACE}", "--output=name") == ""


def test_nothing_is_left_of_a_cluster_whose_run_was_killed() -> None:
    """By SIGKILL: no code of ours runs in the process that started it."""
    before, spaces = Traces.seen(), {kind: namespaces_of(kind) for kind in KINDS}
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout
    folder = Path(run.stdout.readline().split()[0])
    assert len(processes_of(folder)) > 10
    assert Traces.seen() != before
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    wait_until(lambda: not folder.exists() and not processes_of(folder), "nothing runs any more", SECONDS)
    assert Traces.seen() == before
    wait_until(lambda: all(namespaces_of(kind) <= spaces[kind] for kind in KINDS), "no namespace is left", SECONDS)
