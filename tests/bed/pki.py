"""Certificates for a test run, made by trustme: new ones each time, kept nowhere, accepted by strict clients."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
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
from trustme import CA, LeafCert

LIFETIME = timedelta(days=2)
CLOCK_SKEW = timedelta(minutes=5)


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

    ca: CA

    @property
    def certificate(self) -> bytes:
        """The root, PEM: what clients trust, and what goes into `caBundle`."""
        return self.ca.cert_pem.bytes()

    @property
    def private_key(self) -> bytes:
        """The root's key, PEM, to sign a certificate that trustme does not make."""
        return self.ca.private_key_pem.bytes()

    def serving(self, *names: str, begin: timedelta = -CLOCK_SKEW, end: timedelta = LIFETIME) -> KeyPair:
        """A server certificate for DNS names and IP addresses, valid from `begin` to `end`, as seen from now."""
        now = datetime.now(UTC)
        return pair(self.ca.issue_cert(*names, not_before=now + begin, not_after=now + end))

    def client(self, user: str, groups: Iterable[str] = ()) -> KeyPair:
        """A client certificate as Kubernetes reads it: the user in CN, the group in O; trustme takes one group only.

        Without a group, O is trustme's name. Without a DNS name, Go rejects the certificate: trustme then writes an
        empty list of names, and marks it as critical.
        """
        (group,) = tuple(groups) or (None,)
        end = datetime.now(UTC) + LIFETIME
        return pair(self.ca.issue_cert("client.test", common_name=user, organization_name=group, not_after=end))

    def workload(self, identity: str) -> KeyPair:
        """A certificate of a workload in a mesh, for both sides of a connection; its identity is a SPIFFE URI."""
        root, key = x509.load_pem_x509_certificate(self.certificate), ec.generate_private_key(ec.SECP256R1())
        now, usages = datetime.now(UTC), [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workload")])
        leaf = (
            x509.CertificateBuilder(root.subject, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(_signing_key(self.private_key), hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return KeyPair(leaf.public_bytes(Encoding.PEM), private)


def _signing_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def create_authority(name: str) -> Authority:
    """A new self-signed root of this organisation."""
    return Authority(CA(path_length=0, organization_name=name))


def create_signing_key() -> SigningKey:
    """A new key pair without a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(public, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def pair(leaf: LeafCert) -> KeyPair:
    """The certificate and key of a leaf."""
    return KeyPair(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
