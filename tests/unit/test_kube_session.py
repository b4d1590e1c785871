"""A session with an API server whose CA is replaced while it runs."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kube import session
from app.kube.client import Client
from app.kube.errors import Unreachable
from app.kube.resources import NAMESPACES
from tests.bed.kubeconfig import write_kubeconfig
from tests.bed.pki import Authority, create_authority
from tests.unit.kube_server import Server, json_answer, running

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def authority() -> Authority:
    return create_authority("the new authority")


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> Iterator[Server]:
    """An API server with a certificate of the new authority."""
    pair = authority.serving("127.0.0.1")
    (tmp_path / "serving.pem").write_bytes(pair.certificate + pair.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "serving.pem")
    with running() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = server.url.replace("http:", "https:")
        server.answers = [json_answer({"items": [], "metadata": {}})]
        yield server


def test_after_a_failed_handshake_the_client_reloads_the_ca_of_its_kubeconfig(
    server: Server, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_REFRESH_SECONDS", 0.0)
    user, path = authority.client("controller"), tmp_path / "kubeconfig"
    write_kubeconfig(path, server.url, create_authority("the old authority").certificate, user)
    client = Client.from_kubeconfig(str(path))
    with pytest.raises(Unreachable):
        client.list_page(NAMESPACES)
    write_kubeconfig(path, server.url, authority.certificate, user)
    with pytest.raises(Unreachable, match="certificate verify failed"):
        client.list_page(NAMESPACES)
    assert client.list_page(NAMESPACES).items == []
    client.close()


def test_a_failed_handshake_with_an_unchanged_kubeconfig_stays_a_failure(
    server: Server, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_REFRESH_SECONDS", 0.0)
    path = tmp_path / "kubeconfig"
    write_kubeconfig(
        path, server.url, create_authority("the old authority").certificate, authority.client("controller")
    )
    client = Client.from_kubeconfig(str(path))
    for _ in range(3):
        with pytest.raises(Unreachable):
            client.list_page(NAMESPACES)
    client.close()
