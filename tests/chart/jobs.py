"""Runs Jobs and Pods of hooks as a Job controller and a kubelet would: as the ServiceAccount, with the arguments."""

import json
import os
import subprocess
import threading
from typing import Any, Self

from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND
from tests.chart.release import account

PATHS = {"Job": "/apis/batch/v1/namespaces/{namespace}/jobs", "Pod": "/api/v1/namespaces/{namespace}/pods"}
NOW = "2026-01-01T00:00:00Z"


class Jobs:
    """For as long as the `with` block lasts. `results` has what each process ended in, by name."""

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
            self.run_new()

    def run_new(self) -> None:
        """Run those that are there and were not run yet."""
        for kind, path in PATHS.items():
            listed = self._cluster.get(path.format(namespace=self._namespace))[1]
            for one in json.loads(listed)["items"]:
                if one["metadata"]["uid"] not in self._done and not has_ended(one):
                    self._execute(kind, one)
                    self._done.add(one["metadata"]["uid"])

    def _execute(self, kind: str, one: dict[str, Any]) -> None:
        name = one["metadata"]["name"]
        spec = one["spec"]["template"]["spec"] if kind == "Job" else one["spec"]
        kubeconfig = account(self._cluster, self._namespace, spec["serviceAccountName"])
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        command = [*COMMAND, *spec["containers"][0]["args"]]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        self.results[name] = result
        succeeded = result.returncode == 0
        if kind == "Pod":
            self._report(kind, name, pod_status(succeeded), check=True)
        elif self._report(kind, name, job_status(succeeded), check=False).returncode:
            # Before Kubernetes 1.31 a Job without a success policy ends without the condition that comes first since.
            self._report(kind, name, job_status(succeeded, ends_at_once=True), check=True)

    def _report(self, kind: str, name: str, status: Any, *, check: bool) -> subprocess.CompletedProcess[str]:
        patch = ("patch", kind, name, "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")
        return self._cluster.kubectl(*patch, f"--namespace={self._namespace}", check=check)


def has_ended(one: dict[str, Any]) -> bool:
    """Whether a Job or Pod ran before: to run it again would report to the one that Helm makes in its place."""
    status = one.get("status", {})
    return bool(status.get("conditions")) or status.get("phase") in {"Succeeded", "Failed"}


def job_status(succeeded: bool, *, ends_at_once: bool = False) -> dict[str, Any]:
    """The status of a Job whose one pod came to its end, with or without the condition before the last."""
    times = {"startTime": NOW, "completionTime": NOW} if succeeded else {"startTime": NOW}
    types = ("SuccessCriteriaMet", "Complete") if succeeded else ("FailureTarget", "Failed")
    count = {"succeeded": 1} if succeeded else {"failed": 1}
    conditions = [condition(type_) for type_ in (types[1:] if ends_at_once else types)]
    return {"status": {**times, **count, "conditions": conditions, "uncountedTerminatedPods": {}}}


def pod_status(succeeded: bool) -> dict[str, Any]:
    """The status of a pod that came to its end."""
    return {"status": {"phase": "Succeeded" if succeeded else "Failed"}}


def condition(type_: str) -> dict[str, str]:
    """A condition that holds."""
    return {"type": type_, "status": "True", "lastTransitionTime": NOW, "lastProbeTime": NOW}
