"""Where the API server is: every way to say it, and one sentence for every way to say it wrong."""

import re
from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from app.kube import config
from app.kube.client import Client
from app.kube.errors import ConfigError

CLUSTER = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://api.example.com:6443"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: x
"""


@pytest.fixture(autouse=True)
def outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A pod whose service account is mounted in the folder that is returned."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text("mounted")
    (tmp_path / "ca.crt").write_text("a certificate")
    return tmp_path


def write(path: Path, text: str = CLUSTER) -> str:
    path.write_text(text)
    return str(path)


def test_a_kubeconfig_names_the_server_and_the_token(tmp_path: Path) -> None:
    configuration = config.load(write(tmp_path / "config"), connections=7)
    assert configuration.host == "https://api.example.com:6443"
    assert configuration.api_key == {"BearerToken": "Bearer t"}
    assert configuration.connection_pool_maxsize == 7


def test_without_a_path_the_default_kubeconfig_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", f"/nowhere:{write(tmp_path / 'config')}")
    assert config.load(None, connections=1).host == "https://api.example.com:6443"


@pytest.mark.usefixtures("pod")
def test_in_a_pod_without_a_kubeconfig_the_service_account_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere")
    configuration = config.load(None, connections=1)
    assert configuration.host == "https://10.0.0.1:443"
    assert configuration.api_key == {"BearerToken": "bearer mounted"}


@pytest.mark.usefixtures("pod")
def test_in_a_pod_a_kubeconfig_that_is_named_goes_first(tmp_path: Path) -> None:
    assert config.load(write(tmp_path / "config"), connections=1).host == "https://api.example.com:6443"


def test_in_a_pod_the_default_kubeconfig_goes_first_as_with_kubectl(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", write(pod / "config"))
    assert config.load(None, connections=1).host == "https://api.example.com:6443"


def test_a_context_is_one_of_the_kubeconfig(tmp_path: Path) -> None:
    path = write(tmp_path / "config", CLUSTER.replace("current-context: x", "current-context: y"))
    assert config.load(path, connections=1, context="x").host == "https://api.example.com:6443"
    with pytest.raises(ConfigError, match=r"cannot be used: .*z"):
        config.load(path, connections=1, context="z")


@pytest.mark.usefixtures("pod")
def test_in_a_pod_a_context_needs_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere")
    with pytest.raises(ConfigError, match=r"^kubeconfig /nowhere does not exist$"):
        config.load(None, connections=1, context="x")


def test_in_a_pod_without_a_token_the_default_kubeconfig_is_read(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pod / "token").unlink()
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", write(pod / "config"))
    assert config.load(None, connections=1).host == "https://api.example.com:6443"


def test_nothing_is_repeated_behind_our_back(tmp_path: Path) -> None:
    assert config.load(write(tmp_path / "config"), connections=1).retries is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "[]",
        "{}",
        "just text",
        CLUSTER.replace("current-context: x", "current-context: y"),
        CLUSTER.replace("cluster: c,", "cluster: d,"),
        CLUSTER.replace('"https://api.example.com:6443"', '"https://x", certificate-authority: /nowhere'),
        "\0",
    ],
)
def test_a_broken_kubeconfig_is_one_error_line_with_its_path(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "config", text)
    with pytest.raises(ConfigError) as caught:
        Client.from_kubeconfig(path)
    message = str(caught.value)
    assert message.startswith(f"kubeconfig {path} cannot be used: ")
    assert "\n" not in message
    assert len(message) > len(path) + len("kubeconfig  cannot be used: ")
    assert "indices" not in message, "no word of the loader's own stumbling"


def test_a_missing_kubeconfig_is_reported_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "none")
    with pytest.raises(ConfigError, match=f"^kubeconfig {path} does not exist$"):
        Client.from_kubeconfig(path)
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", path)
    with pytest.raises(
        ConfigError, match=f"^no kubeconfig: {re.escape(path)} does not exist; set --kubeconfig or KUBECONFIG$"
    ):
        Client.from_kubeconfig()
