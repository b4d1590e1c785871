"""Client certificates: who may call the webhook, if a CA says who.

With a CA, TLS refuses every certificate that this CA has not signed. A client without a certificate is refused by a
response that says so, and not by TLS: so the probes of the controller and of doctor, which have no certificate, still
see that the webhook is there.
"""

import logging
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0
"""A client that is refused tries again and again: one line in this time says so."""
PeerCertificate = Mapping[str, Any]
"""A verified certificate as the ssl module has it; empty without one."""


class SeldomWarning:
    """A warning that is logged at most once in QUIET_SECONDS, with the number of those in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()
        self._untold = 0

    def __call__(self, sentence: str) -> None:
        """Log it, or count it."""
        if self._clock() < self._next:
            self._untold += 1
            return
        self._next = self._clock() + QUIET_SECONDS
        more = f" ({self._untold} more since the last such line)" if self._untold else ""
        self._untold = 0
        log.warning("%s%s", sentence, more)


_untrusted = SeldomWarning()


class _Handshake(ssl.SSLObject):
    """Logs a client certificate that was refused: asyncio says nothing about it.

    A session of TLS 1.2 that is resumed is refused too, because its certificate is not verified again: the CA may be
    another one by now. No API server resumes sessions.
    """

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            _untrusted(f"rejected a TLS connection: the client certificate is not valid: {error.verify_message}")
            raise
        if self.session_reused:
            reason = "the client resumed a session, and its certificate would not be verified again"
            _untrusted(f"rejected a TLS connection: {reason}")
            raise ssl.SSLError(reason)


class VerifyingContext(ssl.SSLContext):
    """A server's context that asks for client certificates."""

    sslobject_class = _Handshake

    def __init__(self, protocol: int) -> None:  # noqa: ARG002 - SSLContext takes it when it is made
        self.verify_mode = ssl.CERT_OPTIONAL

    def trust(self, authority: Path) -> None:
        """Accept the certificates of a CA (PEM). Raises OSError."""
        self.load_verify_locations(authority)


class AllowedClients:
    """Who may call: anyone; or clients with a certificate; or those whose certificate has one of some names."""

    def __init__(self, subjects: Collection[str], *, required: bool) -> None:
        self._required = required
        self._subjects = frozenset(subjects)
        self._warn = SeldomWarning()

    def refusal(self, certificate: PeerCertificate, client: object) -> str | None:
        """Say why a client is refused, and log it; None if it may call."""
        reason = self._reason(certificate)
        if reason:
            self._warn(f"rejected requests from {client}: {reason}")
        return reason

    def _reason(self, certificate: PeerCertificate) -> str | None:
        if not self._required:
            return None
        if not certificate:
            return "a client certificate is required"
        found = names(certificate)
        if self._subjects and not self._subjects & found:
            return f"the client certificate is for {', '.join(sorted(found)) or 'no name'}: not an allowed subject"
        return None


def names(certificate: PeerCertificate) -> frozenset[str]:
    """Return the common names and the alternative names of a certificate."""
    common = {value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"}
    return frozenset(common | {value for _, value in certificate.get("subjectAltName", ())})
