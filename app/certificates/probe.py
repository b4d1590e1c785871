"""A fresh TLS connection to a webhook, made as the API server makes its own: who answers, and would it be trusted?"""

import socket
import ssl
from dataclasses import dataclass
from enum import Enum

SECONDS = 3.0
"""Longest time for connecting, and for the handshake after it."""

_EXPIRED, _EARLY, _MISNAMED, _MISADDRESSED = 10, 9, 62, 64
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, CERT_NOT_YET_VALID, HOSTNAME_MISMATCH and IP_ADDRESS_MISMATCH."""


class Trouble(Enum):
    """The reasons for which a connection fails."""

    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    NO_BUNDLE = "no bundle"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    MISNAMED = "misnamed"
    NO_TLS = "no TLS"


class ProbeError(Exception):
    """A connection that failed; `trouble` says in which way, the message in the words of the library."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Address:
    """Where a webhook is reached, and the name that its certificate has to be for, if that is not the host's."""

    host: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def probe(address: Address, bundle: bytes, seconds: float = SECONDS) -> None:
    """Complete a TLS handshake that trusts a bundle of CA certificates (PEM) and no others. Raises ProbeError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False  # nor does the API server look there
    try:
        context.load_verify_locations(cadata=bundle.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise ProbeError(Trouble.NO_BUNDLE, "it holds no certificates") from None
    try:
        with (
            socket.create_connection((address.host, address.port), seconds) as plain,
            context.wrap_socket(plain, server_hostname=address.name or address.host),
        ):
            return
    except OSError as error:
        raise ProbeError(_trouble(error), _words(error)) from error


def _trouble(error: OSError) -> Trouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        known = {
            _EXPIRED: Trouble.EXPIRED,
            _EARLY: Trouble.EXPIRED,
            _MISNAMED: Trouble.MISNAMED,
            _MISADDRESSED: Trouble.MISNAMED,
        }
        return known.get(error.verify_code, Trouble.UNTRUSTED)
    kinds: tuple[tuple[type[OSError], Trouble], ...] = (
        (ssl.SSLError, Trouble.NO_TLS),
        (socket.gaierror, Trouble.UNRESOLVED),
        (ConnectionRefusedError, Trouble.REFUSED),
        (ConnectionResetError, Trouble.NO_TLS),
        (TimeoutError, Trouble.TIMEOUT),
    )
    return next((trouble for kind, trouble in kinds if isinstance(error, kind)), Trouble.UNREACHABLE)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    return error.strerror or str(error)
