"""Runs the Jobs of a namespace as a Job controller and a kubelet would: as the ServiceAccount, with the arguments."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

from tests.bed.control_plane import ControlPlane
from tests.chart.release import account
from tests.guard import COMMAND

NOW = "2026-01-01T00:00:00Z"


class Jobs:
    """For as long as the `with` block lasts. `results` has what each process ended in, by Job."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self.results: dict[str, subprocess.CompletedProcess[str]] = {}
        self._cluster = cluster
        self._namespace = namespace
        self._done = set[str]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.2):
            listed = self._kubectl("get", "jobs", "--output=json")
            for job in json.loads(listed.stdout)["items"]:
                if job["metadata"]["uid"] not in self._done:
                    self._execute(job)
                    self._done.add(job["metadata"]["uid"])

    def _execute(self, job: dict[str, Any]) -> None:
        name, spec = job["metadata"]["name"], job["spec"]["template"]["spec"]
        kubeconfig = account(self._cluster, self._namespace, spec["serviceAccountName"])
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        command = [*COMMAND, *spec["containers"][0]["args"]]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        self.results[name] = result
        status = succeeded() if result.returncode == 0 else failed()
        self._kubectl("patch", "job", name, "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")

    def _kubectl(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self._cluster.kubectl(*arguments, f"--namespace={self._namespace}")


def succeeded() -> dict[str, Any]:
    """The status of a Job whose one pod succeeded."""
    conditions = [condition("SuccessCriteriaMet"), condition("Complete")]
    times = {"startTime": NOW, "completionTime": NOW}
    return {"status": {**times, "succeeded": 1, "conditions": conditions, "uncountedTerminatedPods": {}}}


def failed() -> dict[str, Any]:
    """The status of a Job whose pods failed."""
    conditions = [condition("FailureTarget"), condition("Failed")]
    return {"status": {"startTime": NOW, "failed": 1, "conditions": conditions, "uncountedTerminatedPods": {}}}


def condition(type_: str) -> dict[str, str]:
    """A condition that holds."""
    return {"type": type_, "status": "True", "lastTransitionTime": NOW, "lastProbeTime": NOW}
