"""The serving certificate: a pair of files, and the TLS context that serves it.

Certificates are read with the standard library only: the cryptography package would use more memory than everything
else in this process.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.serving.client_certificates import VerifyingContext

log = logging.getLogger(__name__)

PairStamp = tuple[tuple[int, int, int], ...] | None
"""Inode, modification time in ns and size of the files; None if one is missing."""

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for: time is judged here, by a given clock."""


class CertificateError(Exception):
    """A certificate pair that cannot be served; the message has the files and the reason."""


@dataclass(frozen=True, slots=True)
class LoadedPair:
    """A certificate with its key, ready to serve; times in seconds since the epoch."""

    context: ssl.SSLContext
    not_before: float
    not_after: float
    misnamed: str | None = None
    """The reason why the certificate is not valid for the expected name, if it is not."""

    def unfit(self, now: float) -> str | None:
        """Say why no client would accept it now; None if clients accept it."""
        if self.misnamed:
            return self.misnamed
        if now < self.not_before:
            return f"it is not valid before {_moment(self.not_before)}"
        return f"it expired on {_moment(self.not_after)}" if now > self.not_after else None


class ServingCertificate:
    """A certificate chain and its key on disk, re-read when they change.

    `context` stays the same for the life of a listener. Each handshake gets the context of the newest usable pair, so
    a bad pair cannot damage the one in use. Without a pair, handshakes fail. `name` is the DNS name (or IP address)
    that the certificate must be valid for; None: any. `client_ca` is a file with the CA certificates of clients, loaded
    again like the pair; with it, each handshake asks for a client certificate. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        certificate: Path,
        private_key: Path,
        name: str | None = None,
        clock: Callable[[], float] = time.time,
        client_ca: Path | None = None,
    ) -> None:
        self._files = (certificate, private_key)
        self._client_ca = client_ca
        self._name = name
        self._clock = clock
        self._current: LoadedPair | None = None
        self._newest: LoadedPair | None = None
        self._problem: str | None = None
        self._logged: str | None = None
        self._unread = False  # whether the files could not be read, whatever is in them: they are tried again
        self.context = self._new_context()
        self.context.sni_callback = self._choose
        self._stamp = self._stat()
        self._take_up()

    @property
    def not_after(self) -> float:
        """The expiry of the served certificate in seconds since the epoch; 0 if none is served."""
        return self._current.not_after if self._current else 0.0

    @property
    def up_to_date(self) -> bool:
        """Whether the served certificate is the one in the files."""
        return self._current is not None and self._current is self._newest

    def unready(self) -> str | None:
        """Say why no client would accept the served certificate now; None if clients accept it."""
        reason = self._current.unfit(self._clock()) if self._current else self._problem
        if not reason or not self._current:
            return reason
        return f"{self._problem}; the previous certificate: {reason}" if self._problem else self._sentence(reason)

    def reload(self) -> bool:
        """Load a changed pair, and return whether a different certificate is served now. A problem is logged once."""
        before = self._current
        stamp = self._stat()
        if stamp != self._stamp or self._unread:
            self._stamp = stamp
            self._take_up()
        else:
            self._choose_current()
        changed = self._current is not before
        if changed:
            log.info("serving certificate %s, valid until %s", self._files[0], _moment(self.not_after))
        return changed

    async def watch(self, interval: float = 1.0) -> None:
        """Reload when the files change, until cancelled; `interval` in seconds."""
        while True:
            await asyncio.sleep(interval)
            try:
                self.reload()
            except Exception:
                log.exception("unexpected error while following the certificate; it goes on")

    def _take_up(self) -> None:
        self._newest = self._problem = None
        self._unread = False
        try:
            self._newest = self._load()
        except CertificateError as error:
            self._problem = str(error)
            self._unread = not isinstance(error.__cause__, ssl.SSLError)
        self._choose_current()

    def _choose_current(self) -> None:
        """Serve the newest pair, unless it is not usable and the previous one is. This can change with time."""
        now = self._clock()
        reason = self._newest.unfit(now) if self._newest else None
        if self._newest and (not reason or not self._current or self._current.unfit(now)):
            self._current = self._newest
        kept = self._problem or (reason and self._sentence(reason))
        self._log(self.unready() or (kept and f"{kept}; the previous certificate stays in use"))

    def _log(self, problem: str | None) -> None:
        if problem and problem != self._logged:
            # On every first installation the certificate comes after the pods.
            awaited = self._stamp is None and self._current is None
            log.log(logging.INFO if awaited else logging.ERROR, "%s", problem)
        self._logged = problem

    def _sentence(self, reason: str) -> str:
        return f"cannot serve {self._files[0]} with {self._files[1]}: {reason}"

    def _choose(self, handshake: ssl.SSLObject, _server_name: str | None, _listener: ssl.SSLContext) -> None:
        if self._current:
            handshake.context = self._current.context

    def _load(self) -> LoadedPair:
        context = self._new_context()
        if isinstance(context, VerifyingContext) and self._client_ca:
            _trust(context, self._client_ca)
        try:
            # With an empty password, an encrypted key fails; without one, OpenSSL would ask on the terminal.
            context.load_cert_chain(*self._files, password="")
            leaf = _leaf(context)
            facts = _facts(context, leaf)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(self._sentence(_why(error))) from error
        return LoadedPair(
            context,
            ssl.cert_time_to_seconds(facts["notBefore"]),
            ssl.cert_time_to_seconds(facts["notAfter"]),
            _misnamed(context, leaf, self._name, facts),
        )

    def _new_context(self) -> ssl.SSLContext:
        protocol = ssl.PROTOCOL_TLS_SERVER
        context = VerifyingContext(protocol) if self._client_ca else ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # An API server resumes no session, and tickets are a part of the work of each handshake. This setting is for
        # TLS 1.3. A client of TLS 1.2 that gets no ticket has its session kept in memory, so those may have one.
        context.num_tickets = 0
        return context

    def _stat(self) -> PairStamp:
        try:
            found = [path.stat() for path in (*self._files, *filter(None, [self._client_ca]))]
        except OSError:
            return None
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)


def _trust(context: VerifyingContext, client_ca: Path) -> None:
    try:
        context.trust(client_ca)
    except OSError as error:
        reason = "not PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise CertificateError(f"cannot verify clients with {client_ca}: {reason}") from error


def _leaf(server: ssl.SSLContext) -> bytes:
    """Return the certificate (DER) that a server context serves."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # the caller only reads the served certificate
    return _shake_hands(server, client).getpeercert(binary_form=True) or b""


def _facts(server: ssl.SSLContext, leaf: bytes, name: str | None = None) -> dict[str, Any]:
    """Return the fields of the leaf certificate in the ssl module's format.

    Raises SSLCertVerificationError if it is not a server certificate, or not for `name`.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=leaf)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.check_hostname = name is not None
    client.hostname_checks_common_name = False  # the API server does not look there either
    return _shake_hands(server, client, name).getpeercert() or {}


def _misnamed(server: ssl.SSLContext, leaf: bytes, name: str | None, facts: dict[str, Any]) -> str | None:
    """Say why a certificate is not for a name. OpenSSL decides it, because of wildcards and addresses."""
    if name is None:
        return None
    try:
        _facts(server, leaf, name)
    except ssl.SSLCertVerificationError:
        names = ", ".join(value for _, value in facts.get("subjectAltName", ()))
        return f"it is for {names or 'no name at all'}, not for {name}"
    return None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> ssl.SSLObject:
    """Shake hands in memory, and return the client's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (asking, answering) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return asking


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"no client would accept it ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"not a matching PEM pair ({error.reason or error})"
    return error.strerror or str(error)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
