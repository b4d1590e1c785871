"""Child processes of a test run: started with a log file, waited for by polling, stopped for sure."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from tests.bed.errors import BedError

POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.25
"""Looks cost CPU time, here and in what is looked at: they come less often, the longer the wait is."""
LEASH = Path(__file__).with_name("leash.py")


class Child:
    """A program whose standard output and error are appended to one log file; can be started anew.

    `env` is its whole environment (default: ours). As a context manager it is started, and stopped at the end.
    On Linux the kernel kills it when the thread that started it ends, however that comes about:
    start children from a thread that lives as long as they should.
    """

    def __init__(self, *command: str | Path, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self.env = env
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def name(self) -> str:
        return Path(self.command[0]).name

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process started last. Raises RuntimeError if there is none."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it; gives itself. That it is no program shows in the log, and in whatever waits for it."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                _leashed(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
            )
        return self

    def pause(self) -> None:
        """Freeze it (SIGSTOP), all its threads: its connections stay open and nothing is answered any more."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self, seconds: float = 15.0) -> int:
        """Ask it to end (SIGTERM), kill it after `seconds`; the exit code, negative for a signal."""
        self.process.terminate()
        self.resume()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once (SIGKILL); the exit code, negative for a signal."""
        self.process.kill()
        return self.process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
        """Poll `condition`; BedError with the end of the log if the process ends first or time is up."""
        try:
            wait_until(lambda: not self.running or condition(), what, seconds)
        except TimeoutError as error:
            raise BedError(f"{self.name}: {error}; {self._evidence()}") from None
        if not self.running:
            code = self.process.returncode
            raise BedError(f"{self.name} ended with code {code} before {what}; {self._evidence()}")

    def wait_until_listening(self, port: int, seconds: float = 90.0) -> None:
        """Wait until something accepts connections on this port of 127.0.0.1."""
        self.wait_until(lambda: is_listening(port), f"port {port} accepts connections", seconds)

    def wait_until_answering(self, url: str, tls: ssl.SSLContext | None = None, seconds: float = 90.0) -> None:
        """Wait until a GET of this http or https URL gets status 200."""
        self.wait_until(lambda: answers(url, tls), f"{url} answers 200", seconds)

    def _evidence(self) -> str:
        return f"the end of {self.log}:\n{self.tail()}"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    """Poll `condition` until it holds; TimeoutError naming `what` after `seconds`."""
    deadline, pause = time.monotonic() + seconds, POLL_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(pause)
        pause = min(pause * 1.1, LONGEST_POLL_SECONDS)


def is_listening(port: int) -> bool:
    """Whether a connection to this port of 127.0.0.1 is accepted."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def answers(url: str, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a GET of this http or https URL gets status 200, past any proxy of the environment."""
    handlers = [ProxyHandler({}), HTTPSHandler(context=tls)]
    try:
        with build_opener(*handlers).open(url, timeout=5.0) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False


def _leashed(command: Sequence[str]) -> Sequence[str]:
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command]
