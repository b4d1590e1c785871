"""A webhook for a test: in a thread where its insides matter, in a process of its own where signals or memory do."""

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from app.policyfile import PolicyFile
from app.serving.tls import ServingCertificate
from app.settings import WebhookSettings
from app.telemetry.metrics import WebhookMetrics
from app.webhook.server import Webhook, serve
from tests.bed.pki import Authority, KeyPair
from tests.contract.clients import Client, Response, get

DEADLINE = 90.0
"""Seconds after which what a test waits for is not coming any more."""
ROOT = Path(__file__).parents[2]

Seen = TypeVar("Seen")


def until(look: Callable[[], Seen | None], within: float = DEADLINE) -> Seen:
    """Look until there is something to see."""
    end = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < end, f"not seen within {within} s"
        time.sleep(0.01)
    return seen


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate pair on disk, and the authority to verify it with."""

    authority: Path
    certificate: Path
    private_key: Path

    @classmethod
    def create(cls, folder: Path, authority: Authority) -> "Files":
        """Write a first pair for 127.0.0.1."""
        files = cls(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
        files.authority.write_bytes(authority.certificate)
        files.replace(authority.serving("127.0.0.1"))
        return files

    def replace(self, pair: KeyPair) -> None:
        """Put another pair in its place."""
        self.certificate.write_bytes(pair.certificate)
        self.private_key.write_bytes(pair.private_key)

    def settings(self, **changes: Any) -> WebhookSettings:
        """Settings for loopback, on ports that the system picks, without a drain to wait for."""
        return WebhookSettings(
            **{
                "tls_cert_file": self.certificate,
                "tls_private_key_file": self.private_key,
                "bind_address": "127.0.0.1",
                "port": 0,
                "health_port": 0,
                "drain_seconds": 0.0,
                **changes,
            }
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A webhook that answers."""

    admission: str
    health: str
    authority: Path

    def connect(self, source: str = "") -> Client:
        """Open a connection, shaken hands on, from an address of this machine."""
        return Client(self.admission, self.authority, source=source)

    def shakes_hands(self) -> bool:
        """Whether a new connection gets its handshake within half a second."""
        try:
            with Client(self.admission, self.authority, timeout=0.5):
                return True
        except TimeoutError:
            return False

    def ask(self, data: bytes | None = None) -> Response:
        """Send one request on a connection of its own."""
        with self.connect() as client:
            return client.ask(data)

    def probe(self, path: str) -> Response:
        """Ask the health port."""
        return get(self.health, path)


@contextmanager
def running(files: Files, **changes: Any) -> Iterator[Running]:
    """Run a webhook in a thread of this process."""
    settings = files.settings(**changes)
    certificate = ServingCertificate(
        settings.tls_cert_file,
        settings.tls_private_key_file,
        settings.service_name,
        client_ca=settings.client_ca_file,
    )
    metrics = WebhookMetrics()
    webhook = Webhook(settings, PolicyFile(settings.policy, metrics.policy.reloaded), metrics, certificate)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    loop = runner.get_loop()
    thread = threading.Thread(target=lambda: runner.run(webhook.run()), name="webhook")
    thread.start()
    try:
        until(lambda: webhook.unready is None)
        yield Running(webhook.admission.address, webhook.health.address, files.authority)
    finally:
        loop.call_soon_threadsafe(webhook.stop)
        thread.join(DEADLINE)
        runner.close()
    assert not thread.is_alive()


@dataclass(frozen=True, slots=True)
class Process:
    """A webhook in a process of its own."""

    popen: subprocess.Popen[bytes]
    log_file: Path
    authority: Path

    @property
    def log(self) -> str:
        """Whatever it logged so far."""
        return self.log_file.read_text()

    @property
    def peak(self) -> int:
        """Most memory that it had since it started, in MiB."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024

    def serving(self) -> Running:
        """Wait until it answers."""
        found = until(lambda: re.search(r"serving admission on (\S+), health checks and metrics on (\S+)", self.log))
        return Running(found[1], found[2], self.authority)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def exit_code(self, within: float = DEADLINE) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired where that does not come."""
        return self.popen.wait(within)


@contextmanager
def process(files: Files, **changes: Any) -> Iterator[Process]:
    """Run a webhook in a process, whether or not it can start."""
    log_file = files.certificate.with_name(f"{time.monotonic_ns()}.log")
    command = [sys.executable, "-m", "tests.contract.webhooks", str(files.certificate.parent), json.dumps(changes)]
    with log_file.open("wb") as log, subprocess.Popen(command, cwd=ROOT, stderr=log) as popen:
        try:
            yield Process(popen, log_file, files.authority)
        finally:
            popen.kill()


def main(folder: str, changes: str) -> int:
    """Be that process."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    files = Files(Path(folder, "ca.crt"), Path(folder, "tls.crt"), Path(folder, "tls.key"))
    metrics = WebhookMetrics()
    return serve(files.settings(**json.loads(changes)), PolicyFile(None, metrics.policy.reloaded), metrics)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
