"""An installation without a chart: Service, configurations, rights, and a stand-in for the kubelet."""

import base64
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from app.certificates.probe import Address
from app.certificates.x509 import Certificate, read_bundle
from app.kube.client import Client, Object
from app.kube.errors import NotFound
from app.kube.resources import CONFIGURATIONS, SECRETS, Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND, HOST, WEBHOOK_RULES, Controller, ready
from tests.bed.ports import free_ports
from tests.bed.processes import Child
from tests.e2e.team import NAMESPACES

SERVICES = Resource("", "v1", "services", "Service")
RBAC = "rbac.authorization.k8s.io"
SERVICE, TLS_SECRET, CA_SECRET = "serviceentry-guard-webhook", "serviceentry-guard-tls", "serviceentry-guard-ca"
MOUNT_SECONDS = 0.5
"""Time between two looks of the stand-in for the kubelet."""

NUMBERS = count(1)


@dataclass
class Installation:
    """The guard in a namespace of its own, asked for namespaces with a label of its own.

    The Service is an alias of this machine (ExternalName), so that the API server calls the webhook as it would call
    a pod's: by the Service's name, which is what the certificate has to be for.
    """

    control_plane: ControlPlane
    client: Client
    folder: Path
    name: str = field(default_factory=lambda: f"guard-{next(NUMBERS)}")
    failure_policies: tuple[str, str] = ("Fail", "Fail")

    def __post_init__(self) -> None:
        self.port, self.health_port = free_ports(2)
        self.mounted = self.folder / "mounted"
        self.labels = {"guarded-by": self.name}
        for name, labels in ((self.name, {}), (f"{self.name}-team", self.labels)):
            metadata = {"name": name, "labels": labels}
            self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        spec = {"type": "ExternalName", "externalName": "localhost"}
        metadata = {"name": SERVICE, "namespace": self.name}
        self.client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        for resource in CONFIGURATIONS:
            self.client.create(resource, self.configuration(resource))

    @property
    def team(self) -> str:
        """Namespace of a team under guard."""
        return f"{self.name}-team"

    @property
    def dns_name(self) -> str:
        """What the API server calls the webhook by."""
        return f"{SERVICE}.{self.name}.svc"

    @property
    def address(self) -> Address:
        """Where the webhook is reached from here."""
        return Address(HOST, self.port, self.dns_name)

    def configuration(self, resource: Resource) -> Object:
        """One of the two configurations, without a caBundle, as a chart has it."""
        stage = "mutate" if resource is CONFIGURATIONS[0] else "validate"
        service = {"namespace": self.name, "name": SERVICE, "port": self.port, "path": f"/{stage}"}
        webhook = {
            "name": f"{stage}.serviceentry-guard.io",
            "clientConfig": {"service": service},
            "rules": WEBHOOK_RULES,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": self.failure_policies[CONFIGURATIONS.index(resource)],
            "timeoutSeconds": 10,
            "namespaceSelector": {"matchLabels": self.labels},
        }
        metadata = {"name": self.name}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "webhooks": [webhook]}

    def webhook(self, *arguments: str) -> Child:
        """The webhook on the mounted files, which need not be there yet."""
        return Child(
            *COMMAND, "webhook", f"--tls-cert-file={self.mounted / 'tls.crt'}",
            f"--tls-private-key-file={self.mounted / 'tls.key'}", f"--service-name={self.dns_name}",
            f"--bind-address={HOST}", f"--port={self.port}", f"--health-port={self.health_port}", *arguments,
            log=self.folder / "webhook.log",
        )  # fmt: skip

    def controller(self, *arguments: str) -> Controller:
        """The controller with exactly the rights that docs/certificates.md lists, and those of its other work."""
        given = ("--manage-certificates", f"--namespace={self.name}", f"--webhook-configuration={self.name}")
        return Controller(self.control_plane, self.folder, [*given, *arguments], self._grant())

    @property
    def ready(self) -> bool:
        """Whether the webhook says so."""
        return ready(self.health_port)

    def secret(self, name: str) -> dict[str, bytes]:
        """What a Secret holds; nothing where there is none."""
        try:
            data = self.client.get(SECRETS, self.name, name).get("data") or {}
        except NotFound:
            return {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    def bundle(self, resource: Resource = CONFIGURATIONS[1]) -> bytes:
        """The caBundle of a configuration."""
        (webhook,) = self.client.get(resource, None, self.name)["webhooks"]
        return base64.b64decode(webhook["clientConfig"].get("caBundle", ""))

    def authorities(self) -> tuple[Certificate, ...]:
        """What the API server trusts."""
        return read_bundle(self.bundle())

    def entry(self, name: str = "probe", **spec: Any) -> Object:
        """An entry of the team that has to be changed, unless `spec` says otherwise."""
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        given = {"hosts": [f"{name}.{self.name}.example.com"], "ports": ports, "resolution": "NONE", **spec}
        metadata = {"name": name, "namespace": self.team}
        return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": given}

    @contextmanager
    def kubelet(self) -> Iterator[None]:
        """Bring the Secret's files to where the webhook mounts them, for as long as this lasts."""
        ended = threading.Event()
        thread = threading.Thread(target=self._mount, args=[ended], name="kubelet")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Controller]:
        """Webhook, controller and kubelet, all ready."""
        with ExitStack() as stack:
            stack.enter_context(self.kubelet())
            webhook = stack.enter_context(self.webhook())
            controller = stack.enter_context(self.controller(*arguments))
            webhook.wait_until(lambda: self.ready, "the webhook has a certificate")
            yield controller
            webhook.kill()  # nobody is there to be drained for

    def _mount(self, ended: threading.Event) -> None:
        """Put each new content into a folder of its own, and swap a link: a Secret that is gone leaves its files."""
        generation = 0
        before: dict[str, bytes] = {}
        while not ended.wait(MOUNT_SECONDS):
            if (data := self.secret(TLS_SECRET)) and data != before:
                generation += 1
                folder = self.folder / f"mounted-{generation}"
                folder.mkdir()
                for name, content in data.items():
                    (folder / name).write_bytes(content)
                link = self.folder / "mounted-next"
                link.symlink_to(folder)
                link.rename(self.mounted)
                before = data

    def _grant(self) -> Path:
        for kind, name, rules in (("ClusterRole", self.name, CLUSTER_RULES), ("Role", "guard", RULES)):
            named = [
                {**rule, "resourceNames": [self.name]} if rule["apiGroups"] == ADMISSION else rule for rule in rules
            ]
            namespace = {"namespace": self.name} if kind == "Role" else {}
            self._create(kind, {"metadata": {"name": name, **namespace}, "rules": named})
            reference = {"apiGroup": RBAC, "kind": kind, "name": name}
            subject = {"apiGroup": RBAC, "kind": "User", "name": f"controller-of-{self.name}"}
            binding = {"metadata": {"name": name, **namespace}, "roleRef": reference, "subjects": [subject]}
            self._create(f"{kind}Binding", binding)
        return self.control_plane.user_kubeconfig(f"controller-of-{self.name}")

    def _create(self, kind: str, body: Object) -> None:
        resource = Resource(RBAC, "v1", f"{kind.lower()}s", kind, namespaced=not kind.startswith("Cluster"))
        try:
            self.client.get(resource, body["metadata"].get("namespace"), body["metadata"]["name"])
        except NotFound:
            self.client.create(resource, {"apiVersion": resource.api_version, "kind": kind, **body})


def _rule(group: str, resources: Sequence[str], verbs: str, *names: str) -> dict[str, list[str]]:
    rule = {"apiGroups": [group], "resources": list(resources), "verbs": verbs.split()}
    return {**rule, "resourceNames": list(names)} if names else rule


ADMISSION = ["admissionregistration.k8s.io"]
CERTIFICATE_RULES = [
    _rule("", ["secrets"], "create"),
    _rule("", ["secrets"], "get update", TLS_SECRET, CA_SECRET),
]
CERTIFICATE_CLUSTER_RULES = [_rule(ADMISSION[0], [one.plural for one in CONFIGURATIONS], "get patch")]
"""What `--manage-certificates` needs; the configurations by their name."""
RULES = [*CERTIFICATE_RULES, _rule("coordination.k8s.io", ["leases"], "create get update")]
CLUSTER_RULES = [
    _rule("coordination.k8s.io", ["leases"], "list", "serviceentry-guard-controller"),
    *CERTIFICATE_CLUSTER_RULES,
    _rule("networking.istio.io", ["*"], "*"),
    _rule("events.k8s.io", ["events"], "*"),
]
