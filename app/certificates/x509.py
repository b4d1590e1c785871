"""X.509 for the webhook: authorities, serving certificates and bundles; pure functions, with the time as an argument.

Keys are ECDSA P-256. Times are aware datetimes; everything that is written is PEM.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.core.resources.service_entry import MANAGER

SKEW = timedelta(minutes=5)
"""How far behind ours the clock of a client may be: certificates are dated back by it."""

Certificate = x509.Certificate


class UnreadablePair(ValueError):
    """PEM that is not a certificate with its key; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, PEM."""
        return write_bundle([self.certificate])

    @property
    def key_pem(self) -> bytes:
        """The key, PEM (PKCS 8), not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def create_authority(now: datetime, lifetime: timedelta) -> Pair:
    """Create a root that may sign leaves only, with a name of its own: clients can tell it from the previous one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject(f"{MANAGER} authority {token_hex(4)}")
    builder = (
        _builder(name, name, key.public_key(), now, now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issue(authority: Pair, name: str, now: datetime, lifetime: timedelta) -> Pair:
    """Create a serving certificate for one DNS name. It ends no later than its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + lifetime, authority.certificate.not_valid_after_utc)
    builder = (
        _builder(_subject(MANAGER), authority.certificate.subject, key.public_key(), now, end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def read_pair(certificate: bytes, key: bytes) -> Pair:
    """Read the first certificate of a chain, and its key; raises Unreadable."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError:
        raise UnreadablePair("the certificate is not a PEM certificate") from None
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        raise UnreadablePair("the key is not a PEM key") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise UnreadablePair("the key does not belong to an elliptic curve")
    if _spki(private.public_key()) != leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise UnreadablePair("the key belongs to another certificate")
    return Pair(leaf, private)


def read_bundle(bundle: bytes) -> tuple[Certificate, ...]:
    """Read all certificates of a bundle; returns none if the bundle is invalid."""
    try:
        return tuple(x509.load_pem_x509_certificates(bundle))
    except ValueError:
        return ()


def write_bundle(certificates: Iterable[Certificate]) -> bytes:
    """Write certificates one after the other, each once."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in dict.fromkeys(certificates))


def lapse(certificate: Certificate, now: datetime) -> str | None:
    """Return the reason why a certificate is not valid now; None if it is valid."""
    if now < certificate.not_valid_before_utc:
        return f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
    if now > certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
    return None


def renewal(certificate: Certificate) -> datetime:
    """When a certificate of ours has lived two thirds of its life."""
    end = certificate.not_valid_after_utc
    life = end - certificate.not_valid_before_utc - SKEW
    return end - max(life, timedelta(0)) / 3


def is_from(certificate: Certificate, authority: Certificate) -> bool:
    """Say whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def names(certificate: Certificate) -> tuple[str, ...]:
    """Return the DNS names that a certificate is for."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(alternatives.value.get_values_for_type(x509.DNSName))


def is_authority(certificate: Certificate) -> bool:
    """Say whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
