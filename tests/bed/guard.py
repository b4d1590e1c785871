"""The product itself beside a control plane: its webhook, registered for real, and its controller, as processes."""

import base64
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.bed.control_plane import ControlPlane
from tests.bed.pki import Authority, create_authority
from tests.bed.ports import free_ports
from tests.bed.processes import Child, wait_until

COMMAND = (sys.executable, "-m", "app")
HOST = "127.0.0.1"
STAGES = {"mutate": ("MutatingWebhookConfiguration", "Ignore"), "validate": ("ValidatingWebhookConfiguration", "Fail")}
"""Kind of the configuration and failure policy, as a cluster should have them."""
Conditions = Mapping[str, Sequence[Mapping[str, str]]]
"""The matchConditions of each stage."""
NO_CONDITIONS: Conditions = {}
WEBHOOK_RULES = [
    {
        "apiGroups": ["networking.istio.io"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["serviceentries"],
    }
]
"""What a cluster calls the webhooks for."""


class Webhook:
    """`serviceentry-guard webhook` with a serving certificate of its own authority."""

    def __init__(self, folder: Path, arguments: Sequence[str] = (), command: Sequence[str] = COMMAND) -> None:
        self.authority: Authority = create_authority("serviceentry-guard webhook")
        self.port, self.health_port = free_ports(2)
        self.child = Child(
            *command, "webhook", *self._files(folder), f"--bind-address={HOST}", f"--port={self.port}",
            f"--health-port={self.health_port}", *arguments, log=folder / "webhook.log",
        )  # fmt: skip

    def __enter__(self) -> Self:
        """Start, and wait until it is ready."""
        self.child.start()
        self.child.wait_until(lambda: ready(self.health_port), "the webhook is ready")
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop it, without the time to drain that it takes when it is asked once."""
        if self.child.running:
            self.child.process.terminate()
            wait_until(lambda: not ready(self.health_port), "the webhook drains")
        self.child.stop()

    @contextmanager
    def registered(
        self,
        control_plane: ControlPlane,
        selector: dict[str, str] | None = None,
        stages: Sequence[str] = tuple(STAGES),
        conditions: Conditions = NO_CONDITIONS,
    ) -> Iterator[None]:
        """Have the API server ask it, in the namespaces with these labels (None: in all), for as long as this lasts.

        `conditions` are the matchConditions of each stage. The API server begins to ask a moment later.
        """
        configurations = [self._configuration(stage, selector, "-".join(stages)) for stage in stages]
        for stage, configuration in zip(stages, configurations, strict=True):
            configuration["webhooks"][0]["matchConditions"] = list(conditions.get(stage, ()))
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": configurations})
        control_plane.kubectl("apply", "--filename=-", stdin=manifest)
        try:
            yield
        finally:
            control_plane.kubectl("delete", "--filename=-", stdin=manifest)

    def _files(self, folder: Path) -> Iterator[str]:
        pair = self.authority.serving(HOST)
        for flag, name, content in (
            ("--tls-cert-file", "tls.crt", pair.certificate),
            ("--tls-private-key-file", "tls.key", pair.private_key),
        ):
            (folder / name).write_bytes(content)
            yield f"{flag}={folder / name}"

    def _configuration(self, stage: str, selector: dict[str, str] | None, name: str) -> dict[str, Any]:
        kind, failure_policy = STAGES[stage]
        webhook = {
            "name": f"{stage}.serviceentry-guard.io",
            "clientConfig": {
                "url": f"https://{HOST}:{self.port}/{stage}",
                "caBundle": base64.b64encode(self.authority.certificate).decode(),
            },
            "rules": WEBHOOK_RULES,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": failure_policy,
            "matchPolicy": "Equivalent",
            "timeoutSeconds": 5,
            "namespaceSelector": {"matchLabels": selector or {}},
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": f"serviceentry-guard-{self.port}-{name}"},
            "webhooks": [webhook],
        }


class Controller:
    """`serviceentry-guard controller`, as the administrator unless another kubeconfig is given."""

    def __init__(
        self,
        control_plane: ControlPlane,
        folder: Path,
        arguments: Sequence[str] = (),
        kubeconfig: Path | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        (self.health_port,) = free_ports(1)
        kubeconfig = kubeconfig or control_plane.kubeconfig
        self.child = Child(
            *command, "controller", f"--kubeconfig={kubeconfig}", f"--health-port={self.health_port}",
            "--namespace=default", *arguments, log=folder / f"controller-{self.health_port}.log",
        )  # fmt: skip

    def __enter__(self) -> Self:
        """Start, and wait until its caches are filled."""
        self.child.start()
        self.child.wait_until(lambda: ready(self.health_port), "the controller is ready")
        return self

    def __exit__(self, *_exception: object) -> None:
        self.child.stop()

    def samples(self, name: str) -> list[Sample]:
        """All samples of this name from its /metrics."""
        families = text_string_to_metric_families(fetch(self.health_port, "/metrics"))
        return [sample for family in families for sample in family.samples if sample.name == name]

    def metric(self, name: str, /, **labels: str) -> float:
        """One sample from its /metrics, 0 where there is none."""
        found = [one.value for one in self.samples(name) if labels.items() <= one.labels.items()]
        return found[0] if found else 0.0


@contextmanager
def guard(
    control_plane: ControlPlane, *, policy: Path | None = None, selector: dict[str, str] | None = None
) -> Iterator[tuple[Webhook, Controller]]:
    """Both; the webhook for the namespaces with these labels (None: for all). Logs go to a temporary folder."""
    arguments = [f"--policy={policy}"] if policy else []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serviceentry-guard-")))
        webhook = stack.enter_context(Webhook(folder, arguments))
        stack.enter_context(webhook.registered(control_plane, selector))
        controller = stack.enter_context(Controller(control_plane, folder, [*arguments, "--no-leader-elect"]))
        yield webhook, controller


def exempting(folder: Path) -> Path:
    """Write a policy, and return its path: the recipe, and teams may exempt their entries."""
    path = folder / "exempting.yaml"
    path.write_text("apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\nexemptions: {annotation: Allow}\n")
    return path


def fetch(port: int, path: str) -> str:
    """The body of a GET on a health port."""
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as response:
        return str(response.read().decode())


def ready(port: int) -> bool:
    """Whether /readyz on a health port says so."""
    try:
        return fetch(port, "/readyz") == "ok"
    except OSError:
        return False


def review(manifest: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `serviceentry-guard review` on text."""
    command = [*COMMAND, "review", "-", *arguments]
    return subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)
