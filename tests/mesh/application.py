"""The application: an HTTP client with a pool of one persistent connection, which retries nothing itself."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from tests.mesh.networks import Pod

PATIENCE = 10.0
"""Seconds after which it gives up on an answer, unless it is told to be more patient."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: who answered, or the error; and how long it took."""

    seconds: float
    body: str = ""
    error: str = ""


class Client(Protocol):
    """Whatever sends one request."""

    def send(self, method: str, path: str) -> Outcome: ...


class Application:
    """A client of one host in a pod; it resolves the name when it connects, and keeps the connection while it can."""

    def __init__(
        self, pod: Pod, host: str, port: int = 80, *, tls: ssl.SSLContext | None = None, patience: float = PATIENCE
    ) -> None:
        timeout = urllib3.Timeout(connect=patience, read=patience)
        self._pod, self._patience = pod, patience
        if tls:
            self._pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(
                host, port, maxsize=1, retries=False, timeout=timeout, ssl_context=tls
            )
        else:
            self._pool = urllib3.HTTPConnectionPool(host, port, maxsize=1, retries=False, timeout=timeout)

    def send(self, method: str, path: str) -> Outcome:
        """Send a request, with a few bytes where it is a POST, and wait for its end."""
        begun = time.monotonic()
        body = b"once" if method == "POST" else None
        try:
            with self._pod.inside():
                response = self._pool.request(method, path, body=body)
        except (HTTPError, OSError) as error:
            return Outcome(time.monotonic() - begun, error=self._spoken(error))
        text = response.data.decode("utf-8", "replace").strip()
        error_text = f"{response.status} {text}".strip() if response.status >= 400 else ""
        return Outcome(time.monotonic() - begun, body=text, error=error_text)

    def _spoken(self, error: Exception) -> str:
        if isinstance(error, ReadTimeoutError | TimeoutError):
            return f"no answer within {self._patience:g} s"
        inner = error.args[-1] if error.args and isinstance(error.args[-1], Exception) else error
        return f"connection lost ({type(inner).__name__})"


@dataclass(frozen=True, slots=True)
class Expecting:
    """A client for whom the answer of another server is an error; `servers` names those that there are."""

    client: Client
    wanted: str
    servers: Mapping[str, str]

    def send(self, method: str, path: str) -> Outcome:
        """Send a request, and look who answers it."""
        outcome = self.client.send(method, path)
        if outcome.error or outcome.body == self.wanted:
            return outcome
        return replace(outcome, error=f"answered by {self.servers[outcome.body]}")


def expecting(connect: Callable[[], Client], wanted: str, servers: Mapping[str, str]) -> Callable[[], Client]:
    """Make such clients of others."""
    return lambda: Expecting(connect(), wanted, servers)


@dataclass
class Outcomes:
    """All that became of the requests of one trial."""

    all: list[Outcome] = field(default_factory=list)

    def send(self, client: Client, method: str, path: str) -> Outcome:
        """Send one more."""
        outcome = client.send(method, path)
        self.all.append(outcome)
        return outcome

    @property
    def errors(self) -> list[Outcome]:
        """Those that failed."""
        return [one for one in self.all if one.error]

    @property
    def message(self) -> str:
        """What was said most often of failures."""
        messages = Counter(one.error for one in self.errors)
        return messages.most_common(1)[0][0] if messages else ""

    @property
    def slowest(self) -> float:
        """Seconds of the longest request."""
        return max((one.seconds for one in self.all), default=0.0)


def hammer(connects: Iterable[Callable[[], Client]], requests: int, method: str = "GET") -> Outcomes:
    """Send so many requests from each of these clients, one after the other, all clients at once; each its own path."""
    outcomes = Outcomes()

    def ask(number: int, connect: Callable[[], Client]) -> None:
        client = connect()
        for each in range(requests):
            outcomes.send(client, method, f"/{number}/{each}")

    at_once([partial(ask, number, connect) for number, connect in enumerate(connects)])
    return outcomes


def at_once(works: Iterable[Callable[[], object]]) -> None:
    """Do all of it, each in a thread of its own, and wait; the first exception is raised again."""
    failures = list[BaseException]()

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
