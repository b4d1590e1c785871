"""The stream: creates, edits and deletes of ServiceEntries, as teams make them, while faults happen.

Three threads write, each in a namespace of its own, so that the writes of one entry follow each other. An edit replaces
the version that was read, and a delete names it: a write that a frozen API server executes late then fails.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.core.resources.service_entry import Key
from app.kube.client import Client, Object
from app.kube.errors import ApiError, NotFound
from app.kube.resources import SERVICE_ENTRIES
from tests.builders import HTTP, HTTPS
from tests.chaos.ledger import Ledger, state
from tests.chaos.others import pool, shared_hosts

ENTRIES = 8
"""Entries of a namespace: few, so that each is created, edited and deleted often."""
BY_WEBHOOK = ("failed calling webhook", "denied the request")


@dataclass
class Counts:
    """What came of the writes of a stream."""

    acknowledged: int = 0
    rejected: int = 0
    unanswered: int = 0
    by_webhook: int = 0
    raw: int = 0
    """Entries that were stored with another resolution than DNS."""


@dataclass
class Stream:
    """Runs for as long as `running` lasts; `ledger` has what may be stored."""

    client: Client
    namespaces: tuple[str, ...]
    seed: int = 1
    pause: float = 0.25
    ledger: Ledger = field(default_factory=Ledger)
    counts: Counts = field(default_factory=Counts)
    _end: threading.Event = field(default_factory=threading.Event)
    _turns: dict[str, threading.Lock] = field(init=False)

    def __post_init__(self) -> None:
        self._turns = {namespace: threading.Lock() for namespace in self.namespaces}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write until the block ends."""
        self.counts, self.seed = Counts(), self.seed + 1
        self._end.clear()
        threads = [threading.Thread(target=self._write, args=[each], name=each) for each in self.namespaces]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """No write is under way, and none begins, until the block ends."""
        with ExitStack() as stack:
            for turn in self._turns.values():
                stack.enter_context(turn)
            yield

    def clear(self, seconds: float = 60.0) -> None:
        """Delete all entries, and forget them."""
        deadline = time.monotonic() + seconds
        for namespace in self.namespaces:
            for item in self.client.list_page(SERVICE_ENTRIES, namespace).items:
                if time.monotonic() > deadline:
                    raise TimeoutError("the entries cannot be deleted")
                self.client.delete(SERVICE_ENTRIES, namespace, item["metadata"]["name"])
        self.ledger.possible.clear()

    def _write(self, namespace: str) -> None:
        choice = random.Random(f"{self.seed} {namespace}")  # noqa: S311 - a stream that can be repeated
        while not self._end.wait(self.pause * choice.uniform(0.5, 1.5)):
            with self._turns[namespace]:
                self._one(Key(namespace, f"entry-{choice.randrange(ENTRIES)}"), choice)

    def _one(self, key: Key, choice: random.Random) -> None:
        spec = _spec(key.namespace, choice)
        try:
            stored = self.client.get(SERVICE_ENTRIES, key.namespace, key.name)
        except NotFound:
            self._attempt(key, lambda: self.client.create(SERVICE_ENTRIES, _entry(key, spec)), state(spec))
            return
        except ApiError:
            return  # nothing was written
        if choice.random() < 0.3:
            self._attempt(key, lambda: self._delete(key, stored), None)
        else:
            edited = {**stored, "spec": spec}
            self._attempt(key, lambda: self.client.replace(SERVICE_ENTRIES, edited), state(spec))

    def _delete(self, key: Key, stored: Object) -> None:
        metadata = stored["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        self.client.delete(SERVICE_ENTRIES, key.namespace, key.name, uid=uid, resource_version=version)

    def _attempt(self, key: Key, write: Callable[[], Object | None], after: str | None) -> None:
        try:
            stored = write()
        except ApiError as error:
            self._note(key, error, after)
            return
        self.counts.acknowledged += 1
        self.ledger.acknowledged(key, after)
        self.counts.raw += stored is not None and stored["spec"].get("resolution") != "DNS"

    def _note(self, key: Key, error: ApiError, after: str | None) -> None:
        by_webhook = any(words in error.message for words in BY_WEBHOOK)
        self.counts.by_webhook += by_webhook
        if by_webhook or 400 <= error.status < 500:
            self.counts.rejected += 1
        else:
            self.counts.unanswered += 1
            self.ledger.unknown(key, after)


def _spec(namespace: str, choice: random.Random) -> dict[str, Any]:
    hosts = choice.sample([*pool(namespace), *shared_hosts()], choice.choice([1, 1, 2]))
    ports = choice.choice([[HTTP], [HTTP, HTTPS], [HTTPS]])
    return {
        "hosts": sorted(hosts),
        "location": "MESH_EXTERNAL",
        "ports": ports,
        "resolution": choice.choice(["NONE", "NONE", "DNS"]),
    }


def _entry(key: Key, spec: dict[str, Any]) -> Object:
    metadata = {"namespace": key.namespace, "name": key.name}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}
