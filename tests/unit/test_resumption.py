"""TLS sessions: those with a ticket take no memory, and none lets in a client whose certificate is not verified."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.serving import client_certificates
from app.serving.client_certificates import SeldomWarning
from app.serving.tls import ServingCertificate
from tests.bed.pki import Authority, create_authority

NAME = "webhook.test"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@dataclass
class Connection:
    """Both ends of a connection in memory, after the handshake."""

    client: ssl.SSLObject
    server: ssl.SSLObject

    def say_something(self) -> None:
        """Send a word each way: the client reads the tickets that come before it."""
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            sender.write(b"word")
            assert receiver.read(10) == b"word"

    def close(self) -> None:
        """End it in order, so that its session may be resumed."""
        for end in (self.client, self.server) * 2:
            try:
                end.unwrap()
            except ssl.SSLError:  # the other end has not answered yet
                continue


class Peers:
    """A server and a client that trust each other's CA."""

    def __init__(self, folder: Path, version: ssl.TLSVersion, *, clients: Authority | None = None) -> None:
        self.client_ca = folder / "client-ca.crt"
        authority = create_authority("webhook")
        certificate, key, identity = (folder / name for name in ("tls.crt", "tls.key", "client.pem"))
        pair = authority.serving(NAME)
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.private_key)
        self._client = ssl.create_default_context(cadata=authority.certificate.decode())
        self._client.maximum_version = version
        if clients:
            self.client_ca.write_bytes(clients.certificate)
            own = clients.client("api-server")
            identity.write_bytes(own.certificate + own.private_key)
            self._client.load_cert_chain(identity)
        self.serving = ServingCertificate(certificate, key, NAME, client_ca=self.client_ca if clients else None)

    def connect(self, session: ssl.SSLSession | None = None) -> Connection:
        """Shake hands; raises ssl.SSLError."""
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        found = Connection(
            self._client.wrap_bio(back, there, server_hostname=NAME, session=session),
            self.serving.context.wrap_bio(there, back, server_side=True),
        )
        for end in (found.client, found.server) * 3:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        return found

    def end_session(self) -> ssl.SSLSession | None:
        """Connect, close, and return what the client may resume."""
        connection = self.connect()
        connection.say_something()
        connection.close()
        return connection.client.session


@pytest.fixture
def clients() -> Authority:
    return create_authority("clients")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("verifies", [False, True])
def test_an_ended_session_of_a_client_that_takes_tickets_uses_no_memory(
    tmp_path: Path, clients: Authority, version: ssl.TLSVersion, verifies: bool
) -> None:
    peers = Peers(tmp_path, version, clients=clients if verifies else None)
    for _ in range(3):
        peers.end_session()
    assert peers.serving.context.session_stats()["number"] == 0


def test_with_tls_1_3_no_tickets_are_made(tmp_path: Path) -> None:
    session = Peers(tmp_path, ssl.TLSVersion.TLSv1_3).end_session()
    assert session is None or not session.has_ticket


def test_where_clients_are_not_verified_a_session_of_tls_1_2_may_be_resumed(tmp_path: Path) -> None:
    peers = Peers(tmp_path, ssl.TLSVersion.TLSv1_2)
    assert peers.connect(peers.end_session()).client.session_reused


def test_where_clients_are_verified_no_session_is_resumed(
    tmp_path: Path, clients: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client_certificates, "_untrusted", SeldomWarning())
    peers = Peers(tmp_path, ssl.TLSVersion.TLSv1_2, clients=clients)
    session = peers.end_session()
    assert session
    peers.client_ca.write_bytes(create_authority("other clients").certificate)
    assert peers.serving.reload()
    with pytest.raises(ssl.SSLCertVerificationError):
        peers.connect()
    monkeypatch.setattr(client_certificates, "_untrusted", SeldomWarning())
    with pytest.raises(ssl.SSLError, match="resumed a session"):
        peers.connect(session)
    assert "rejected a TLS connection: the client resumed a session" in caplog.text
