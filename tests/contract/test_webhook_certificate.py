"""The serving certificate: what it must be at the start, and how another one takes its place."""

import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from app.tls import CertificateError, ServingCertificate
from tests.bed.pki import Authority
from tests.contract.webhooks import Files, Running, process, running, until


def served(webhook: Running) -> bytes:
    """Return the leaf that a new handshake is given, PEM."""
    with webhook.connect() as client:
        der = client.socket.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def remove(files: Files, _authority: Authority) -> None:
    files.private_key.unlink()


def garble(files: Files, _authority: Authority) -> None:
    files.certificate.write_text("not a certificate")


def mismatch(files: Files, authority: Authority) -> None:
    files.private_key.write_bytes(authority.serving("127.0.0.1").private_key)


def make_folder(files: Files, _authority: Authority) -> None:
    files.certificate.unlink()
    files.certificate.mkdir()


def encrypt(files: Files, _authority: Authority) -> None:
    key = load_pem_private_key(files.private_key.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    files.private_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


Spoil = Callable[[Files, Authority], None]
SPOILED = [remove, garble, mismatch, make_folder, encrypt]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_pair_that_cannot_be_served_is_one_clear_sentence(files: Files, authority: Authority, spoil: Spoil) -> None:
    spoil(files, authority)
    with pytest.raises(CertificateError, match=r"^cannot serve \S+tls.crt with \S+tls.key: .+") as raised:
        ServingCertificate(files.certificate, files.private_key)
    assert "\n" not in str(raised.value)


def test_without_a_pair_the_process_ends_with_2(files: Files, authority: Authority) -> None:
    mismatch(files, authority)
    with process(files) as failed:
        assert failed.exit_code() == 2
        (line,) = failed.log.splitlines()
    assert line.startswith("ERROR cannot serve ")
    assert "KEY_VALUES_MISMATCH" in line


def test_without_its_port_the_process_ends_with_2(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, process(files, port=taken.getsockname()[1]) as failed:
        assert failed.exit_code() == 2
        (line,) = failed.log.splitlines()
    assert line.startswith("ERROR cannot listen on 127.0.0.1 port ")
    assert "address already in use" in line


def test_tls_before_1_2_is_not_spoken(files: Files) -> None:
    context = ServingCertificate(files.certificate, files.private_key).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_pair_is_served_to_clients_that_name_no_server(files: Files, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=files.authority)
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    with running(files) as webhook:
        host, _, port = webhook.admission.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain) as secured:
            assert secured.getpeercert()


def test_a_new_pair_is_served_without_a_restart(files: Files, authority: Authority) -> None:
    with running(files) as webhook, webhook.connect() as kept:
        before, renewed = served(webhook), authority.serving("127.0.0.1")
        assert kept.ask().status == 200
        files.replace(renewed)
        until(lambda: served(webhook) == renewed.certificate)
        assert before != renewed.certificate
        assert kept.ask().status == 200


def test_a_pair_put_in_place_by_a_link_is_seen(tmp_path: Path, authority: Authority) -> None:
    """As the kubelet does with a Secret: the files are links through a folder link that it swaps."""
    generations = [Files.create(make(tmp_path / name), authority) for name in ("1", "2")]
    link = tmp_path / "data"
    link.symlink_to("1")
    certificate = ServingCertificate(link / "tls.crt", link / "tls.key")
    assert not certificate.reload()
    swap = tmp_path / "swap"
    swap.symlink_to("2")
    swap.rename(link)
    assert certificate.reload()
    assert leaf(certificate.context, generations[1]) == generations[1].certificate.read_bytes()


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_bad_pair_is_refused_and_the_good_one_stays(
    files: Files, authority: Authority, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    good = files.certificate.read_bytes()
    certificate = ServingCertificate(files.certificate, files.private_key)
    spoil(files, authority)
    assert not certificate.reload()
    assert leaf(certificate.context, files) == good
    assert not certificate.reload()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().endswith("the one before stays in use")


def test_a_mismatched_pair_breaks_a_context_that_it_is_loaded_into(files: Files, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.private_key)
    assert leaf(context, files)
    mismatch(files, authority)
    files.certificate.write_bytes(authority.serving("127.0.0.1").certificate)
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(files.certificate, files.private_key)
    with pytest.raises(ssl.SSLError):
        leaf(context, files)


def leaf(context: ssl.SSLContext, files: Files) -> bytes:
    """Shake hands with a server context in memory; return its leaf, PEM."""
    trusting = ssl.create_default_context(cafile=files.authority)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
