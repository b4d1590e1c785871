"""A cluster with two replicas of the controller, the clients of other people, and a clock that moves on request.

After `settle`, everything must be as the core says of what is stored. While the replicas work, each write is checked:
nothing of others is ever touched, and at most one replica may write.
"""

import logging
from contextlib import suppress
from typing import Unpack

import urllib3

from app.core.policy.model import GuardPolicy
from app.kube.client import Client
from app.kube.errors import AlreadyExists
from app.kube.events import EVENT
from app.kube.resources import LEASES, NAMESPACES
from app.telemetry.logs import OUR_LOGGER
from tests.model.checks import Found, check_objects, check_siblings, may_write
from tests.model.faults import Faults, FaultySession
from tests.model.policies import POLICIES
from tests.model.replica import NAMESPACE, Replica
from tests.model.server import ApiServer, Transport
from tests.model.sessions import Anonymous, Parts, Sender
from tests.model.storage import Storage, Stored

WATCHED = ("serviceentries", "namespaces", "virtualservices", "destinationrules", "httproutes")
TEAMS = ("alpha", "beta")
ROUND_SECONDS = 2.0
"""The pause between two rounds while the replicas settle."""
RENEWAL_SECONDS = 8.0
"""The pause between two renewals of the Lease while nothing else happens."""
ROUNDS, QUIET_ROUNDS = 1500, 3
LONG_SECONDS = 700.0
"""Longer than every interval of the controller."""


class Log(logging.Handler):
    """Keeps errors of the program: nothing that a cluster does may cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.errors.append(self.format(record))


class Others(Anonymous):
    """A session with the field manager of a person who uses kubectl."""

    def __init__(self, inner: Sender) -> None:
        self._inner = inner

    def send(self, method: str, target: str, **parts: Unpack[Parts]) -> urllib3.BaseHTTPResponse:
        """Send a request under another name."""
        target = target.replace("fieldManager=serviceentry-guard", "fieldManager=kubectl")
        return self._inner.send(method, target, **parts)


class World:
    """Everything that a sequence of operations acts on. `inner` makes the session of a real API server."""

    def __init__(self, real: Sender | None = None) -> None:
        self.now = 0.0
        self.policy: GuardPolicy = POLICIES[0]
        self.faults = Faults()
        self.actor, self.late = "", False
        self.writes, self.events, self.last = 0, 0, ""
        self.storage = Storage(lambda: self.now)
        self.server = ApiServer(self.storage)
        self.real = real is not None
        self._inner: Sender = real or Transport(self.server)
        self.users = Client(Others(self._inner))  # type: ignore[arg-type]  # it has a session's methods
        self.log = Log()
        logger = logging.getLogger(OUR_LOGGER)
        self._level = logger.level
        logger.setLevel(logging.ERROR)
        logger.addHandler(self.log)
        for namespace in (NAMESPACE, *TEAMS):
            metadata = {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}}
            with suppress(AlreadyExists):
                self.users.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.storage.on_write = self._written
        self.replicas = [self._replica("first", "pod"), self._replica("second")]

    def close(self) -> None:
        """End the observation of the log."""
        logger = logging.getLogger(OUR_LOGGER)
        logger.removeHandler(self.log)
        logger.setLevel(self._level)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def acting(self, name: str, *, late: bool = False) -> None:
        """Note which replica's call is carried out now; `late` if the API server has delayed it."""
        self.actor, self.late = name, late

    def settle(self) -> None:
        """Let the replicas work without faults until they have nothing left to do."""
        self.faults.waiting = []
        quiet = 0
        for _ in range(ROUNDS):
            before = self.writes
            waiting = self.round()
            rest = waiting is None and self.writes == before and any(replica.leads for replica in self.replicas)
            quiet = quiet + 1 if rest else 0
            if quiet == QUIET_ROUNDS:
                return
            self.skip(max(ROUND_SECONDS, waiting or 0.0))
        raise AssertionError(f"the controller does not come to rest: {[one.waiting() for one in self.replicas]}")

    def round(self) -> float | None:
        """Let every part of every replica do what is due; returns the seconds until a retry, if there is one."""
        for replica in self.replicas:
            for part in ("lease", "policy", *WATCHED, "siblings"):
                replica.run(part)
            for part in ("remediate", "reconcile", "report", "events"):
                replica.drain(part)
        waits = [replica.waiting() for replica in self.replicas if replica.leads]
        return min((seconds for seconds in waits if seconds is not None), default=None)

    def skip(self, seconds: float) -> None:
        """Let time pass while the leader keeps its Lease, if there is one."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + RENEWAL_SECONDS)
            for replica in [one for one in self.replicas if one.remaining] or self.replicas:
                replica.run("lease")

    def check(self) -> None:
        """Check what is stored, after `settle`."""
        found = Found(self.users, TEAMS)
        check_objects(found, self.replicas[0].policies)
        for replica in self.replicas:
            check_siblings(found, replica)
        assert not self.log.errors, self.log.errors

    def check_rest(self) -> None:
        """Check that nothing more is written, however much time passes, and not after a restart either.

        Only an Event may follow a restart: one that the API server did not take before.
        """
        before = self.writes
        self.skip(LONG_SECONDS)
        self.round()
        assert self.writes == before, f"a controller at rest writes ({self.last})"
        before = self.writes - self.events
        for replica in self.replicas:
            replica.kill()
        self.settle()
        assert self.writes - self.events == before, (
            f"a controller that starts on a cluster at rest writes ({self.last})"
        )

    def _written(self, before: Stored | None, after: Stored | None) -> None:
        """Check a write of a replica, and count it unless it is about the Lease."""
        stored = after or before
        if not self.actor or stored is None:
            return
        assert not (wrong := may_write(before, after)), wrong
        if stored.place[0] != LEASES:
            self.writes += 1
            self.events += stored.place[0] == EVENT
            self.last = f"{self.actor}: {stored.place[0].kind} {stored.place[1]}/{stored.place[2]}"
            writer = [one for one in self.replicas if one.remaining > 0]
            assert self.late or [one.name for one in writer] == [self.actor], f"{self.actor} writes, and does not lead"

    def _replica(self, name: str, pod: str = "") -> Replica:
        return Replica(
            name,
            self._session,
            policy=lambda: self.policy,
            clock=lambda: self.now,
            advance=self.advance,
            pod=pod,
        )

    def _session(self, name: str) -> FaultySession:
        return FaultySession(self._inner, self, name)
