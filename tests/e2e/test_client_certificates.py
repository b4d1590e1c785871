"""A real API server presents a client certificate, and the webhook asks for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import HOST, Webhook
from tests.bed.pki import Authority, KeyPair, create_authority
from tests.bed.processes import wait_until
from tests.command import run
from tests.e2e.team import SECONDS

pytestmark = pytest.mark.e2e

NAME = "api-server"
ENTRY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "api", "namespace": "default"},
    "spec": {
        "hosts": ["api.example.com"],
        "location": "MESH_EXTERNAL",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "NONE",
    },
}


@pytest.fixture(scope="module")
def clients() -> Authority:
    """The CA of the API server's client certificate."""
    return create_authority("clients of webhooks")


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory, clients: Authority) -> Iterator[Webhook]:
    """A webhook that only the API server may call."""
    folder = tmp_path_factory.mktemp("webhook")
    (folder / "clients.crt").write_bytes(clients.certificate)
    flags = [f"--client-ca-file={folder / 'clients.crt'}", f"--client-allowed-subject={NAME}"]
    with Webhook(folder, flags) as webhook:
        yield webhook


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, clients: Authority, webhook: Webhook) -> Iterator[ControlPlane]:
    """An API server that presents a certificate of that CA to this webhook."""
    configuration = present(tmp_path_factory.mktemp("admission"), webhook, clients.client(NAME))
    flags = [f"--admission-control-config-file={configuration}"]
    with ControlPlane(provide(), flags) as place, webhook.registered(place):
        yield place


def present(folder: Path, webhook: Webhook, pair: KeyPair) -> Path:
    """Write the files that have an API server present a certificate to one webhook."""
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.private_key)
    user = {"client-certificate": str(folder / "tls.crt"), "client-key": str(folder / "tls.key")}
    users = [{"name": f"{HOST}:{webhook.port}", "user": user}]
    (folder / "kubeconfig").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": users}))
    version = "apiserver.config.k8s.io/v1"
    plugin = {
        "apiVersion": version,
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(folder / "kubeconfig"),
    }
    plugins = [{"name": f"{stage}AdmissionWebhook", "configuration": plugin} for stage in ("Mutating", "Validating")]
    path = folder / "admission.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": version, "kind": "AdmissionConfiguration", "plugins": plugins}))
    return path


def resolution(place: ControlPlane) -> str:
    """The resolution that an entry would be stored with; what the API server says if it would not be stored."""
    dry_run = ("create", "--dry-run=server", "--filename=-", "--output=jsonpath={.spec.resolution}")
    done = place.kubectl(*dry_run, stdin=json.dumps(ENTRY), check=False)
    return done.stdout or done.stderr


def test_an_api_server_with_a_certificate_gets_its_reviews(place: ControlPlane) -> None:
    wait_until(lambda: resolution(place) == "DNS", "the API server asks", SECONDS)


def test_an_api_server_without_a_certificate_is_refused_and_doctor_says_why(
    control_plane: ControlPlane, webhook: Webhook
) -> None:
    with webhook.registered(control_plane, {"kubernetes.io/metadata.name": "default"}, ["validate"]):
        wait_until(
            lambda: "a client certificate is required" in resolution(control_plane), "the API server asks", SECONDS
        )
        flags = [
            f"--kubeconfig={control_plane.kubeconfig}",
            f"--webhook-configuration=serviceentry-guard-{webhook.port}-validate",
        ]
        result = run("doctor", *flags, "--probe-namespace=default", f"--connect={HOST}:{webhook.port}")
    assert result.exit_code == 1
    assert (
        "the webhook rejects the client certificate of the API server, or the API server presents none" in result.stdout
    )
    assert "unset webhook.clientCA" in result.stdout
