"""Client certificates: with a CA for them, only clients of that CA, and of allowed names, get a review."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.certificates.probe import Address, probe
from app.serving import client_certificates
from app.serving.client_certificates import SeldomWarning, names
from app.serving.tls import ServingCertificate
from tests.bed.pki import Authority, KeyPair, create_authority
from tests.command import run
from tests.contract.clients import Client, Response, request
from tests.contract.webhooks import Files, Running, running, until

API_SERVER = "kube-apiserver"


@pytest.fixture(scope="module")
def clients() -> Authority:
    """The CA of the API servers."""
    return create_authority("clients of the webhook")


@pytest.fixture
def client_ca(tmp_path: Path, clients: Authority) -> Path:
    path = tmp_path / "client-ca.crt"
    path.write_bytes(clients.certificate)
    return path


@contextmanager
def connected(
    webhook: Running, certificate: KeyPair | None, maximum: ssl.TLSVersion | None = None
) -> Iterator[ssl.SSLSocket]:
    """Open a connection that presents a certificate."""
    context = ssl.create_default_context(cafile=webhook.authority)
    if maximum:
        context.maximum_version = maximum
    if certificate:
        pair = webhook.authority.with_name("client.pem")
        pair.write_bytes(certificate.certificate + certificate.private_key)
        context.load_cert_chain(pair)
    host, _, port = webhook.admission.rpartition(":")
    with (
        closing(socket.create_connection((host, int(port)), 10)) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        yield tls


def ask(webhook: Running, certificate: KeyPair | None, maximum: ssl.TLSVersion | None = None) -> Response:
    """Send a review."""
    with connected(webhook, certificate, maximum) as tls:
        client = Client.__new__(Client)
        client.socket = tls
        return client.ask(request())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_the_ca_gets_a_review_and_none_gets_403(
    files: Files, clients: Authority, client_ca: Path, version: ssl.TLSVersion
) -> None:
    with running(files, client_ca_file=client_ca) as webhook:
        assert ask(webhook, clients.client(API_SERVER), version).status == 200
        refused = ask(webhook, None, version)
        assert (refused.status, refused.document["message"]) == (403, "a client certificate is required")
        assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_another_ca_is_refused_by_tls_and_logged_once(
    files: Files,
    client_ca: Path,
    version: ssl.TLSVersion,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_certificates, "_untrusted", SeldomWarning())
    stranger = create_authority("somebody else").client(API_SERVER)
    with running(files, client_ca_file=client_ca) as webhook:
        for _ in range(3):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(webhook, stranger, version)
        until(lambda: "rejected a TLS connection: the client certificate is not valid" in caplog.text)
    assert caplog.text.count("rejected a TLS connection") == 1


def test_only_allowed_subjects_get_a_review(files: Files, clients: Authority, client_ca: Path) -> None:
    allowed = ("front", "spiffe://mesh/api", API_SERVER)
    with running(files, client_ca_file=client_ca, client_allowed_subject=allowed) as webhook:
        assert ask(webhook, clients.client(API_SERVER)).status == 200
        assert ask(webhook, clients.workload("spiffe://mesh/api")).status == 200
        refused = ask(webhook, clients.client("somebody"))
        assert refused.status == 403
        assert (
            refused.document["message"] == "the client certificate is for client.test, somebody: not an allowed subject"
        )


def test_refused_requests_are_one_line_in_a_while_and_counted(
    files: Files, client_ca: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(files, client_ca_file=client_ca) as webhook:
        for _ in range(5):
            assert ask(webhook, None).status == 403
        metrics = webhook.probe("/metrics").body.decode()
        assert webhook.probe("/readyz").status == 200
    assert caplog.text.count("a client certificate is required") == 1
    assert 'operation="other",stage="mutate",verdict="forbidden"} 5.0' in metrics


def test_the_next_line_says_how_many_were_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    warn = SeldomWarning(lambda: now[0])
    for second in (0, 1, 59, 61, 62):
        now[0] = second
        warn("refused")
    assert [record.getMessage() for record in caplog.records] == [
        "refused",
        "refused (2 more since the last such line)",
    ]


def test_the_probe_of_controller_and_doctor_reaches_a_webhook_that_asks_for_certificates(
    files: Files, client_ca: Path
) -> None:
    with running(files, client_ca_file=client_ca) as webhook:
        host, _, port = webhook.admission.rpartition(":")
        probe(Address(host, int(port)), webhook.authority.read_bytes())


def test_a_changed_ca_counts_for_the_next_connection(files: Files, clients: Authority, client_ca: Path) -> None:
    other = create_authority("the next CA")
    with running(files, client_ca_file=client_ca) as webhook, connected(webhook, clients.client(API_SERVER)):
        client_ca.write_bytes(other.certificate)

        def accepted(authority: Authority) -> bool:
            try:
                return ask(webhook, authority.client(API_SERVER)).status == 200
            except OSError:
                return False

        until(lambda: accepted(other))
        assert not accepted(clients)


@pytest.mark.parametrize(("content", "why"), [("", "not PEM certificates"), (None, "No such file or directory")])
def test_a_ca_that_cannot_be_read_lets_no_client_in(
    files: Files, client_ca: Path, content: str | None, why: str
) -> None:
    client_ca.unlink()
    if content is not None:
        client_ca.write_text(content)
    certificate = ServingCertificate(files.certificate, files.private_key, client_ca=client_ca)
    assert certificate.unready() == f"cannot verify clients with {client_ca}: {why}"
    with running(files, client_ca_file=client_ca) as webhook, pytest.raises(ssl.SSLError):
        ask(webhook, None)


def test_a_ca_that_breaks_later_leaves_the_one_before_in_use(files: Files, clients: Authority, client_ca: Path) -> None:
    certificate = ServingCertificate(files.certificate, files.private_key, client_ca=client_ca)
    client_ca.write_text("not a certificate")
    certificate.reload()
    assert certificate.unready() is None
    assert not certificate.up_to_date
    client_ca.write_bytes(clients.certificate)
    certificate.reload()
    assert certificate.up_to_date


def test_without_a_ca_no_certificate_is_asked_for(files: Files) -> None:
    with running(files) as webhook:
        assert ask(webhook, create_authority("anyone").client("anyone")).status == 200
        assert ask(webhook, None).status == 200


def test_names_of_a_certificate_are_its_common_name_and_alternative_names() -> None:
    certificate = {
        "subject": ((("organizationName", "o"),), (("commonName", "kube-apiserver"),)),
        "subjectAltName": (("DNS", "a.example.com"), ("URI", "spiffe://a/b"), ("IP Address", "192.0.2.1")),
    }
    assert names(certificate) == {"kube-apiserver", "a.example.com", "spiffe://a/b", "192.0.2.1"}
    assert names({}) == frozenset()


def test_subjects_without_a_ca_are_bad_usage(files: Files) -> None:
    pair = (f"--tls-cert-file={files.certificate}", f"--tls-private-key-file={files.private_key}")
    result = run("webhook", *pair, "--client-allowed-subject=a")
    assert (result.exit_code, result.stderr) == (
        2, "serviceentry-guard: --client-allowed-subject needs --client-ca-file\n",
    )  # fmt: skip
