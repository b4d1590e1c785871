"""The serving certificate: what it must be at the start, and how another one takes its place."""

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from app.serving.tls import ServingCertificate
from tests.bed.pki import Authority, pair
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
NAME = "127.0.0.1"


def name_another(files: Files, authority: Authority) -> None:
    files.replace(authority.serving("other.example.com"))


def expire(files: Files, authority: Authority) -> None:
    files.replace(authority.serving(NAME, begin=timedelta(days=-2), end=timedelta(days=-1)))


def come_early(files: Files, authority: Authority) -> None:
    files.replace(authority.serving(NAME, begin=timedelta(days=1)))


def be_a_client(files: Files, authority: Authority) -> None:
    """Sign the certificate again, for clients only."""
    root = load_pem_private_key(authority.private_key, None)
    assert isinstance(root, EllipticCurvePrivateKey)
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    names = (leaf.issuer, leaf.subject, leaf.public_key(), leaf.serial_number)
    builder = x509.CertificateBuilder(*names, leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    for one in leaf.extensions:
        value = usage if one.oid == usage.oid else one.value
        builder = builder.add_extension(value, one.critical)
    files.certificate.write_bytes(builder.sign(root, SHA256()).public_bytes(Encoding.PEM))


UNFIT: dict[Spoil, str] = {
    remove: r"No such file or directory",
    garble: r"not a matching PEM pair \(.+\)",
    mismatch: r"not a matching PEM pair \(KEY_VALUES_MISMATCH\)",
    make_folder: r"Is a directory|not a matching PEM pair .+",
    encrypt: r"not a matching PEM pair \(.+\)",
    name_another: r"it is for other\.example\.com, not for 127\.0\.0\.1",
    expire: r"it expired on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
    come_early: r"it is not valid before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
    be_a_client: r"no client would accept it \(.+\)",
}
"""What is wrong with a pair for 127.0.0.1, and how that is told."""


def test_a_fit_pair_is_served_and_its_end_is_known(files: Files) -> None:
    certificate = ServingCertificate(files.certificate, files.private_key, NAME)
    assert certificate.unready() is None
    assert certificate.up_to_date
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert certificate.not_after == leaf.not_valid_after_utc.timestamp()


@pytest.mark.parametrize("name", ["a.example.com", "A.Example.COM", "webhook.guard.svc", "127.0.0.1"])
def test_a_certificate_is_for_the_names_that_clients_take_it_for(files: Files, authority: Authority, name: str) -> None:
    files.replace(authority.serving("*.example.com", "webhook.guard.svc", "127.0.0.1"))
    assert ServingCertificate(files.certificate, files.private_key, name).unready() is None


@pytest.mark.parametrize("name", ["a.b.example.com", "example.com", "webhook.guard.svc.cluster.local", "127.0.0.2"])
def test_a_certificate_is_for_no_other_name(files: Files, authority: Authority, name: str) -> None:
    files.replace(authority.serving("*.example.com", "webhook.guard.svc", "127.0.0.1"))
    said = ServingCertificate(files.certificate, files.private_key, name).unready()
    assert said is not None
    assert said.endswith(f"it is for *.example.com, webhook.guard.svc, 127.0.0.1, not for {name}")


def test_a_common_name_counts_for_nothing_as_it_does_not_in_the_api_server(files: Files, authority: Authority) -> None:
    files.replace(pair(authority.ca.issue_cert(common_name="webhook.guard.svc")))
    said = ServingCertificate(files.certificate, files.private_key, "webhook.guard.svc").unready()
    assert said is not None
    assert said.endswith("it is for no name at all, not for webhook.guard.svc")


@pytest.mark.parametrize("spoil", UNFIT)
def test_without_a_fit_pair_readiness_and_the_log_say_why_until_there_is_one(
    files: Files, authority: Authority, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spoil(files, authority)
    with running(files, service_name=NAME) as webhook:
        answer = webhook.probe("/readyz")
        assert answer.status == 503
        said = answer.body.decode().removeprefix("certificate: ").removesuffix("\n")
        sentence = f"cannot serve {files.certificate} with {files.private_key}: "
        assert re.fullmatch(f"{re.escape(sentence)}({UNFIT[spoil]})", said)
        told = [record.levelno for record in caplog.records if record.getMessage() == said]
        assert told == [logging.INFO if spoil is remove else logging.ERROR], "no files is how every installation begins"
        assert webhook.probe("/healthz").status == 200
        with pytest.raises(ssl.SSLError):
            webhook.ask()
        if files.certificate.is_dir():
            files.certificate.rmdir()
        good = authority.serving(NAME)
        files.replace(good)
        until(lambda: webhook.probe("/readyz").status == 200)
        assert webhook.ask().status == 200
        assert served(webhook) == good.certificate


def test_the_process_waits_for_a_pair_and_serves_it(files: Files, authority: Authority) -> None:
    mismatch(files, authority)
    with process(files) as waiting:
        webhook = waiting.serving()
        assert "KEY_VALUES_MISMATCH" in waiting.log
        files.replace(authority.serving(NAME))
        until(lambda: webhook.probe("/readyz").status == 200)
        assert webhook.ask().status == 200


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


@pytest.mark.parametrize("spoil", UNFIT)
def test_a_bad_pair_is_refused_and_the_good_one_stays(
    files: Files, authority: Authority, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    good = files.certificate.read_bytes()
    certificate = ServingCertificate(files.certificate, files.private_key, NAME)
    spoil(files, authority)
    assert not certificate.reload()
    assert leaf(certificate.context, files) == good
    assert certificate.unready() is None
    assert not certificate.up_to_date
    assert not certificate.reload()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().endswith("; the previous certificate stays in use")


def test_time_alone_makes_a_certificate_unfit_and_its_successor_fit(
    files: Files, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    now = [time.time()]
    first = files.certificate.read_bytes()
    certificate = ServingCertificate(files.certificate, files.private_key, NAME, clock=lambda: now[0])
    day = 86_400.0
    files.replace(authority.serving(NAME, begin=timedelta(days=1), end=timedelta(days=5)))
    assert not certificate.reload()
    assert leaf(certificate.context, files) == first
    now[0] += 1.5 * day
    assert certificate.reload()
    assert certificate.unready() is None
    now[0] += 4 * day
    assert not certificate.reload()
    said = certificate.unready()
    assert said is not None
    assert "it expired on" in said
    assert [record.getMessage() for record in caplog.records][-1] == said
    files.private_key.unlink()
    assert not certificate.reload()
    both = certificate.unready()
    assert both is not None
    assert "No such file or directory; the previous certificate: it expired on" in both


def test_metrics_tell_when_the_certificate_expires_and_whether_the_files_are_served(
    files: Files, authority: Authority
) -> None:
    end = x509.load_pem_x509_certificate(files.certificate.read_bytes()).not_valid_after_utc.timestamp()
    with running(files) as webhook:
        assert metric(webhook, "certificate_expiry_timestamp_seconds") == end
        assert metric(webhook, "certificate_last_reload_successful") == 1
        garble(files, authority)
        until(lambda: metric(webhook, "certificate_last_reload_successful") == 0)
        assert metric(webhook, "certificate_expiry_timestamp_seconds") == end


def metric(webhook: Running, name: str) -> float:
    """Read one number from /metrics."""
    text = webhook.probe("/metrics").body.decode()
    return float(re.findall(rf"^serviceentry_guard_{name} (\S+)$", text, re.MULTILINE)[0])


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
