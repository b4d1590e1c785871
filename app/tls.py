"""The serving certificate: a pair of files, and the TLS context that hands it to clients."""

import asyncio
import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...] | None
"""Inode, modification time in ns and size of both files; None where one is missing."""


class CertificateError(Exception):
    """A certificate pair that cannot be served; says which files, and why."""


class ServingCertificate:
    """A certificate chain and its key on disk, re-read when they change.

    `context` stays the same for the life of a listener. Each handshake is given the context of the newest good pair,
    so a bad pair cannot damage the one that is being served. Raises CertificateError if there is none to start with.
    """

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = (certificate, private_key)
        self._stamp = self._stat()
        self._current = self._load()
        self.context = _server_context()
        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Take up a changed pair and say whether it is served now; a bad one is logged, once, and not taken."""
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._current = self._load()
        except CertificateError as error:
            log.error("%s; the one before stays in use", error)  # noqa: TRY400 - the sentence says it, a traceback adds nothing
            return False
        log.info("certificate %s reloaded", self._files[0])
        return True

    async def watch(self, interval: float = 1.0) -> None:
        """Reload whenever the files change, until cancelled; `interval` in seconds."""
        while True:
            await asyncio.sleep(interval)
            self.reload()

    def _choose(self, handshake: ssl.SSLObject, _server_name: str | None, _listener: ssl.SSLContext) -> None:
        handshake.context = self._current

    def _load(self) -> ssl.SSLContext:
        certificate, private_key = self._files
        context = _server_context()
        try:
            # An encrypted key fails on the empty password, where without one OpenSSL would ask the terminal.
            context.load_cert_chain(certificate, private_key, password="")
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(f"cannot serve {certificate} with {private_key}: {_why(error)}") from error
        return context

    def _stat(self) -> Stamp:
        try:
            found = [path.stat() for path in self._files]
        except OSError:
            return None
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not a matching PEM pair ({error.reason or error})"
    return error.strerror or str(error)
