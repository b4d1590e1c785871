"""Certificates for a test run: made anew each time, kept nowhere, strict enough for clients that verify."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

LIFETIME = timedelta(days=2)
CLOCK_SKEW = timedelta(minutes=5)
Validity = tuple[timedelta, timedelta]
"""From when to when, as seen from now."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A leaf certificate and its private key, both PEM."""

    certificate: bytes
    private_key: bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A bare key pair, PEM: what kube-apiserver signs service-account tokens with."""

    public_key: bytes
    private_key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that lives as long as the process that made it."""

    root: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate(self) -> bytes:
        """The root, PEM: what clients trust, and what goes into `caBundle`."""
        return self.root.public_bytes(Encoding.PEM)

    def serving(self, *names: str, begin: timedelta = -CLOCK_SKEW, end: timedelta = LIFETIME) -> KeyPair:
        """A server certificate for DNS names and IP addresses; the first one is also the common name.

        It is valid from `begin` to `end`, as seen from now.
        """
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._issue(_subject(names[0]), [ExtendedKeyUsageOID.SERVER_AUTH], [alternatives], (begin, end))

    def client(self, user: str, groups: Iterable[str] = ()) -> KeyPair:
        """A client certificate as Kubernetes reads it: the user in CN, each group in an O."""
        return self._issue(_subject(user, groups), [ExtendedKeyUsageOID.CLIENT_AUTH], [])

    def workload(self, identity: str) -> KeyPair:
        """A certificate of a workload of a mesh, for both sides of a connection; its identity is a SPIFFE URI."""
        alternatives = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._issue(_subject("workload"), usages, [alternatives])

    def _issue(
        self,
        subject: x509.Name,
        usages: Iterable[ObjectIdentifier],
        extensions: Iterable[x509.ExtensionType],
        validity: Validity = (-CLOCK_SKEW, LIFETIME),
    ) -> KeyPair:
        key = _new_key()
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            _builder(subject, self.root.subject, key, validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(issuer_key, critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        leaf = builder.sign(self.key, hashes.SHA256())
        return KeyPair(leaf.public_bytes(Encoding.PEM), _private_pem(key))


def create_authority(name: str) -> Authority:
    """A new self-signed root with this common name."""
    key = _new_key()
    root = (
        _builder(_subject(name), _subject(name), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(root, key)


def create_signing_key() -> SigningKey:
    """A new key pair without a certificate."""
    key = _new_key()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(public, _private_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    validity: Validity = (-CLOCK_SKEW, LIFETIME),
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begin, end = validity
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _subject(common_name: str, organisations: Iterable[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organisations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
