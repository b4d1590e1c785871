"""A Kubernetes cluster with two nodes that run pods, in namespaces of its own."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bed.apiserver import Profile
from tests.bed.binaries import provide, provide_nodes
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.cluster import evidence, settings
from tests.cluster.archives import write_archive
from tests.cluster.image import NAME
from tests.cluster.manifests import dns
from tests.cluster.node import Node
from tests.cluster.sandbox import Sandbox
from tests.cluster.settings import NodeName
from tests.image.build import IMAGE

PROFILE = Profile(
    (
        "--bind-address=0.0.0.0",
        f"--advertise-address={settings.API_ADDRESS}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ),
    (settings.API_ADDRESS, "10.0.0.1", "kubernetes", "kubernetes.default"),
)


class Cluster:
    """Entering starts it, and this thread, with all that it starts, is then in the cluster's network.

    The API server and etcd are those of the test bed.
    """

    def __init__(self, nodes: int = 2) -> None:
        self._numbers = range(1, nodes + 1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                self._start(stack)
            except TimeoutError as error:
                error.add_note(evidence.seen(self.plane))
                raise
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints, as administrator."""
        return self.plane.kubectl(*arguments, stdin=stdin, check=check).stdout

    def get(self, *arguments: str) -> Any:
        """Objects as kubectl prints them as JSON."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def read(self, path: str) -> Any:
        """The object at a path of the API server, for polls: a kubectl would cost thirty times as much.

        Empty where there is none, and where the API server does not answer in time.
        """
        try:
            status, body = self.plane.get(path)
        except (OSError, HTTPException):
            return {}
        return json.loads(body) if status == 200 else {}

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply manifests."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename=-", stdin=json.dumps(items))

    def _start(self, stack: ExitStack) -> None:
        binaries, programs = provide(), provide_nodes()
        self.sandbox = stack.enter_context(Sandbox())
        folder = self.sandbox.folder / "bin"
        folder.mkdir()
        for name, path in programs.items():
            (folder / name).symlink_to(path)
        pause = write_archive(self.sandbox.folder / "pause.tar", programs["pause"], settings.PAUSE_IMAGE)
        coredns = write_archive(self.sandbox.folder / "coredns.tar", programs["coredns"], settings.DNS_IMAGE)
        self.nodes = [Node(self.sandbox, NodeName(number)) for number in self._numbers]
        self._connect()
        for node in self.nodes:
            node.start_runtime()
        stack.enter_context(self.sandbox.network())
        self.plane = stack.enter_context(ControlPlane(binaries, profile=PROFILE, parent=self.sandbox.folder))
        self._start_controllers(programs)
        for node in self.nodes:
            node.wait_for_runtime()
        self._on_all_nodes(lambda node: node.load(pause, coredns))
        for node in self.nodes:
            self._start_node(node)
        wait_until(self._has_default_account, "pods can be created", 60)
        self.apply(*dns())
        wait_until(self._ready, "both nodes and DNS are ready", 120)

    def _connect(self) -> None:
        first, *others = self.nodes
        first.become_bridge()
        for node in others:
            node.attach(first)

    def _start_controllers(self, programs: Mapping[str, Path]) -> None:
        for name in ("kube-controller-manager", "kube-scheduler"):
            kubeconfig = self.plane.user_kubeconfig(f"system:{name}")
            arguments = [f"--kubeconfig={kubeconfig}", "--leader-elect=false"]
            if name == "kube-controller-manager":
                arguments += [
                    "--use-service-account-credentials",
                    f"--service-account-private-key-file={self.plane.signing_key}",
                    f"--root-ca-file={self.plane.authority}",
                    # A node that stops answering is noticed within twelve seconds instead of fifty.
                    "--node-monitor-grace-period=12s",
                    "--node-monitor-period=2s",
                    "--kube-api-qps=200",
                    "--kube-api-burst=400",
                ]
            self.sandbox.place.child(programs[name], *arguments, log=self.sandbox.folder / f"{name}.log").start()

    def _start_node(self, node: Node) -> None:
        server = f"https://{settings.API_ADDRESS}:{self.plane.port}"
        kubelet = self.plane.user_kubeconfig(f"system:node:{node.name.name}", ["system:nodes"], server)
        proxy = self.plane.user_kubeconfig("system:kube-proxy", [], server)
        node.start(kubelet, proxy, self.plane.authority)

    def _on_all_nodes(self, act: Callable[[Node], object]) -> None:
        """Do something on all nodes at once. No process that stays may be started so: each ends with its thread."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(act, self.nodes))

    def load(self, archive: Path, version: str) -> None:
        """Put an image of the product onto both nodes, under the name that the chart has for this version of it."""

        def load_onto(node: Node) -> None:
            node.load(archive)
            for name in node.images():
                if name.startswith(IMAGE):
                    node.tag(name, f"docker.io/library/{NAME}:{version}")

        self._on_all_nodes(load_onto)

    def _has_default_account(self) -> bool:
        return bool(self.read("/api/v1/namespaces/kube-system/serviceaccounts/default"))

    def _ready(self) -> bool:
        nodes = self.read("/api/v1/nodes").get("items", [])
        dns = self.read("/apis/apps/v1/namespaces/kube-system/deployments").get("items", [])
        return (
            bool(dns)
            and len(nodes) == len(self.nodes)
            and all(map(_is_ready, nodes))
            and all(each.get("status", {}).get("readyReplicas") == each["spec"]["replicas"] for each in dns)
        )


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
