"""A release of the chart on a real API server, with its processes outside: what kubelets would do, done by hand."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller
from tests.chart.helm import NAMESPACE, RELEASE, Helm, Manifest, kind
from tests.documents import as_text
from tools.reference.chart import CHART

ELSEWHERE = ("--policy", "--health-port", "--namespace", "--pod-name")
"""Flags whose values are other ones outside of a pod."""


@dataclass(frozen=True)
class Release:
    """One release: Helm's program, the cluster, and what is installed from which values."""

    helm: Helm
    cluster: ControlPlane
    values: Mapping[str, Any]

    def install(self) -> None:
        """Install it, without waiting for pods that nobody runs."""
        self._write("install", "--create-namespace")

    def upgrade(self, values: Mapping[str, Any]) -> "Release":
        """Upgrade to other values; gives the release as it is then."""
        upgraded = Release(self.helm, self.cluster, values)
        upgraded._write("upgrade")
        return upgraded

    def uninstall(self, *arguments: str) -> None:
        """Uninstall it, hooks included unless they are turned off."""
        self._run("uninstall", RELEASE, *arguments)

    def test(self) -> None:
        """Run `helm test`, whose pods someone else has to run."""
        self._run("test", RELEASE)

    def objects(self) -> list[Manifest]:
        """What is rendered, hooks included."""
        return self.helm.objects(self.values)

    def stored(self, resource: str, name: str = RELEASE) -> Manifest:
        """An object as the API server has it."""
        result = self.cluster.kubectl("get", resource, name, f"--namespace={NAMESPACE}", "--output=json")
        return dict(json.loads(result.stdout))

    def exists(self, resource: str, name: str = RELEASE) -> bool:
        """Whether the API server has an object."""
        arguments = ("get", resource, name, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=name")
        return bool(self.cluster.kubectl(*arguments).stdout)

    def existing(self, *objects: str) -> list[str]:
        """Which objects of these, each as kind/name, the API server has: one question about all of them."""
        arguments = (*objects, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=name")
        return self.cluster.kubectl("get", *arguments).stdout.split()

    def account(self, name: str) -> Path:
        """A kubeconfig of one of the release's ServiceAccounts: its name, its groups, and no other rights."""
        return account(self.cluster, NAMESPACE, f"{RELEASE}-{name}")

    @contextmanager
    def controller(self, folder: Path) -> Iterator[Controller]:
        """Run the controller as its Deployment says, as its ServiceAccount, with the policy of its ConfigMap."""
        policy = folder / "policy.yaml"
        objects = self.objects()
        policy.write_text(kind(objects, "ConfigMap", f"{RELEASE}-policy")["data"]["policy.yaml"])
        arguments = [f"--policy={policy}", f"--namespace={NAMESPACE}", *flags(objects, "controller")]
        with Controller(self.cluster, folder, arguments, self.account("controller")) as controller:
            yield controller

    def _write(self, verb: str, *arguments: str) -> None:
        self._run(verb, RELEASE, CHART, "--values=-", *arguments, stdin=as_text(dict(self.values)))

    def _run(self, *arguments: str | Path, stdin: str | None = None) -> None:
        self.helm.run(*arguments, f"--namespace={NAMESPACE}", stdin=stdin, kubeconfig=self.cluster.kubeconfig)


def account(cluster: ControlPlane, namespace: str, name: str) -> Path:
    """A kubeconfig that makes its user a ServiceAccount, as far as RBAC can tell."""
    group = f"system:serviceaccounts:{namespace}"
    return cluster.user_kubeconfig(f"system:serviceaccount:{namespace}:{name}", [group])


def flags(objects: list[Manifest], component: str) -> list[str]:
    """The flags of a component's pods, but for those that are others outside of a pod."""
    deployment = kind(objects, "Deployment", f"{RELEASE}-{component}")
    _, *given = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return [flag for flag in given if flag.partition("=")[0] not in ELSEWHERE]
