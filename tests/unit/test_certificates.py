"""X.509 as the webhook needs it, each certificate judged by OpenSSL as well."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from app.certificates.x509 import (
    SKEW,
    Pair,
    UnreadablePair,
    create_authority,
    is_authority,
    is_from,
    issue,
    lapse,
    names,
    read_bundle,
    read_pair,
    renewal,
    write_bundle,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NAME = "webhook.guard.svc"


@pytest.fixture(scope="module")
def authority() -> Pair:
    return create_authority(datetime.now(UTC), 30 * DAY)


def shaken(server: Pair, trusted: bytes, name: str, folder: Path) -> bool:
    """Whether OpenSSL takes a certificate for a name under a bundle; raises SSLCertVerificationError."""
    (folder / "tls.crt").write_bytes(server.certificate_pem)
    (folder / "tls.key").write_bytes(server.key_pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    trusting = ssl.create_default_context(cadata=trusted.decode())
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        trusting.wrap_bio(to_client, to_server, server_hostname=name),
        serving.wrap_bio(to_server, to_client, server_side=True),
    )
    for side in sides * 2:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return bool(sides[0].getpeercert())


def test_clients_that_are_strict_take_a_certificate_for_its_name_under_its_authority(
    authority: Pair, tmp_path: Path
) -> None:
    serving = issue(authority, NAME, datetime.now(UTC), DAY)
    assert shaken(serving, authority.certificate_pem, NAME, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shaken(serving, authority.certificate_pem, "other.guard.svc", tmp_path)
    stranger = create_authority(datetime.now(UTC), DAY)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shaken(serving, stranger.certificate_pem, NAME, tmp_path)


def test_under_a_bundle_of_two_authorities_the_certificates_of_both_are_taken(authority: Pair, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    other = create_authority(now, DAY)
    bundle = write_bundle([other.certificate, authority.certificate])
    for signer in (authority, other):
        assert shaken(issue(signer, NAME, now, DAY), bundle, NAME, tmp_path)


def test_a_certificate_signs_no_other(authority: Pair, tmp_path: Path) -> None:
    leaf = issue(authority, NAME, datetime.now(UTC), DAY)
    forged = issue(leaf, NAME, datetime.now(UTC), DAY)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(forged, authority.certificate_pem + leaf.certificate_pem, NAME, tmp_path)
    assert not is_authority(leaf.certificate)
    assert is_authority(authority.certificate)


def test_keys_are_p_256_and_never_the_same(authority: Pair) -> None:
    one, other = (issue(authority, NAME, NOW, DAY) for _ in range(2))
    assert isinstance(one.key.curve, ec.SECP256R1)
    assert one.key_pem != other.key_pem
    assert one.certificate.serial_number != other.certificate.serial_number


def test_a_written_certificate_and_key_can_be_read(authority: Pair) -> None:
    serving = issue(authority, NAME, NOW, DAY)
    again = read_pair(serving.certificate_pem + authority.certificate_pem, serving.key_pem)
    assert again.certificate == serving.certificate
    assert again.key_pem == serving.key_pem
    assert names(again.certificate) == (NAME,)


def test_a_certificate_ends_no_later_than_its_authority() -> None:
    authority = create_authority(NOW, DAY)
    assert issue(authority, NAME, NOW, 9 * DAY).certificate.not_valid_after_utc == NOW + DAY


def test_two_thirds_of_a_life_are_counted_from_its_making_not_from_the_day_it_is_dated_back_to() -> None:
    authority = create_authority(NOW, timedelta(seconds=30))
    assert authority.certificate.not_valid_before_utc == NOW - SKEW
    assert renewal(authority.certificate) == NOW + timedelta(seconds=20)


def test_a_certificate_that_was_made_for_less_than_the_skew_is_due_at_its_end(authority: Pair) -> None:
    odd = issue(authority, NAME, NOW, timedelta(minutes=-1)).certificate
    assert renewal(odd) == odd.not_valid_after_utc


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (NOW, None),
        (NOW - SKEW, None),
        (NOW + DAY, None),
        (NOW - SKEW - timedelta(seconds=1), "it is not valid before 2026-11-24 11:55:00 UTC"),
        (NOW + DAY + timedelta(seconds=1), "it expired on 2026-11-25 12:00:00 UTC"),
    ],
)
def test_a_certificate_is_valid_from_its_first_to_its_last_moment(moment: datetime, said: str | None) -> None:
    assert lapse(create_authority(NOW, DAY).certificate, moment) == said


def rsa_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_an_unreadable_certificate_or_key_raises_an_error_that_says_why(authority: Pair) -> None:
    good = issue(authority, NAME, NOW, DAY)
    secret = good.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    for certificate, key, said in (
        (b"", good.key_pem, "the certificate is not a PEM certificate"),
        (good.certificate_pem[:-40], good.key_pem, "the certificate is not a PEM certificate"),
        (good.key_pem, good.key_pem, "the certificate is not a PEM certificate"),
        (b"\xff\x00", good.key_pem, "the certificate is not a PEM certificate"),
        (good.certificate_pem, b"", "the key is not a PEM key"),
        (good.certificate_pem, good.key_pem.replace(b"M", b"N"), "the key is not a PEM key"),
        (good.certificate_pem, secret, "the key is not a PEM key"),
        (good.certificate_pem, rsa_key(), "the key does not belong to an elliptic curve"),
        (good.certificate_pem, authority.key_pem, "the key belongs to another certificate"),
    ):
        with pytest.raises(UnreadablePair, match=f"^{said}$"):
            read_pair(certificate, key)


def test_a_bundle_holds_each_certificate_once_and_garbage_holds_none(authority: Pair) -> None:
    other = create_authority(NOW, DAY)
    bundle = write_bundle([other.certificate, authority.certificate, other.certificate])
    assert read_bundle(bundle) == (other.certificate, authority.certificate)
    assert read_bundle(b"garbage") == read_bundle(b"") == ()


def test_only_who_signed_a_certificate_is_its_authority(authority: Pair) -> None:
    other = create_authority(NOW, DAY)
    serving = issue(authority, NAME, NOW, DAY).certificate
    assert is_from(serving, authority.certificate)
    assert not is_from(serving, other.certificate)
    namesake = x509.CertificateBuilder(
        subject_name=authority.certificate.subject,
        issuer_name=authority.certificate.subject,
        public_key=other.key.public_key(),
        serial_number=1,
        not_valid_before=NOW,
        not_valid_after=NOW + DAY,
    ).sign(other.key, hashes.SHA256())
    assert not is_from(serving, namesake)
    assert not is_authority(namesake)
    assert names(namesake) == ()
