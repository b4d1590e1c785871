"""Leader election with a `coordination.k8s.io/v1` Lease, so that two replicas never write at the same time."""

import logging
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from app.kube.client import Client, Object
from app.kube.errors import ApiError, Forbidden, NotFound, WriteConflict
from app.kube.lease_record import claimed, handed_over, released, requested, successor
from app.kube.resources import LEASES
from app.kube.rivals import Rival
from app.kube.timing import CLOCK, Clock, jittered

UNINSTALL = "uninstall-"
"""How the identity of a process begins that removes the installation."""
HAND_OVER_SECONDS = 0.5
"""Time for writes under way, between the end of a term and the handover."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of an election, in seconds.

    Other replicas respect the Lease for `duration`. Its holder writes for `renew_deadline` after a renewal; in the time
    between, no replica writes. `retry` is the pause between two attempts, and `call` the timeout of one API call.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    retry: float = 2.0
    call: float = 4.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.call + self.retry:
            raise ValueError("a Lease needs duration > renew_deadline > call + retry")


_DEFAULT_TIMING = Timing()


class LeaderElector:
    """Acquires and renews the Lease `namespace/name` in its own thread, and tries again after every loss.

    `is_leader` and `remaining` are computed from the time at which the last successful renewal was *sent*: they turn
    False and 0 at the renew deadline even while that thread hangs in a call. A writer must check it right before each
    write, and no write may take longer than `remaining`; `client.fenced(elector.remaining)` does both.

    Others take over once `duration` has passed, by their own clock, since they *saw* the record change, so differences
    between clocks do not matter. One case remains: the API server receives a request in time and executes it late, and
    no client can prevent that. So a write must be one that the next leader repairs in its first pass.

    `on_started` and `on_stopped` are called alternately in the elector's thread and must return soon. Use them to
    start and stop work, not to decide whether a write is allowed. `clock` gives seconds.

    `pod` is the name of this process's pod. A holder with that name is an earlier process of the same pod: the kubelet
    starts a container only when the previous one has ended, so its Lease is free.

    A holder hands the Lease over, at its next renewal, to the process that asks for it with `request`: the removal of
    an installation need not wait until the Lease expires.

    `find_rival` returns another active installation. While there is one, no term begins, and `rival` holds it.
    """

    def __init__(  # noqa: PLR0913 - the Lease and the callbacks
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        on_started: Callable[[], None] = lambda: None,
        on_stopped: Callable[[], None] = lambda: None,
        timing: Timing = _DEFAULT_TIMING,
        clock: Clock = CLOCK,
        find_rival: Callable[[], Rival | None] = lambda: None,
        pod: str = "",
    ) -> None:
        self.identity = f"{pod or socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._pod = pod
        self._client = client
        self._namespace = namespace
        self._name = name
        metadata = {"namespace": namespace, "name": name}
        self._blank: Object = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
        self._on_started = on_started
        self._on_stopped = on_stopped
        self._timing = timing
        self._clock = clock
        self._until = clock()
        self._leading = False
        self._lease: Object = {}
        self._seen = clock()
        self._certain = False
        self._holder = ""
        self._removed = False
        self._find_rival = find_rival
        self.rival: Rival | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader-elector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Release the Lease, so that another replica can lead immediately. Stop your writers before you call this."""
        self._stopping.set()
        self._thread.join()

    def is_leader(self) -> bool:
        """Whether a write is allowed now."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """The seconds for which writes are allowed if no renewal succeeds."""
        return max(0.0, self._until - self._clock())

    def campaign(self) -> None:
        """One attempt to acquire or renew; the thread makes one every `retry` seconds."""
        self._end_term_if_over()
        try:
            sent = self._attempt_twice()
        except ApiError as error:
            self._report(error)
            sent = None
        self._end_term_if_over()
        if sent is not None:
            self._until = sent + self._timing.renew_deadline
            self._begin_term()

    def request(self) -> None:
        """Ask the holder, if there is one, to hand the Lease over to this process. Raises ApiError."""
        with suppress(NotFound):
            lease = self._client.get(LEASES, self._namespace, self._name)
            self._client.replace(LEASES, requested(lease, self.identity))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.campaign()
            except Exception:
                _log.exception("unexpected error in the leader election for Lease %s/%s", self._namespace, self._name)
            self._stopping.wait(self._pause())
        self._resign()

    def _pause(self) -> float:
        pause = jittered(self._timing.retry, 1.2 * self._timing.retry)
        return min(pause, self.remaining()) if self._leading else pause

    def _attempt_twice(self) -> float | None:
        try:
            return self._attempt()
        except WriteConflict:
            return self._attempt()  # another replica wrote the Lease: read it at once

    def _attempt(self) -> float | None:
        """The time at which the write that made us the holder was sent; None if another replica holds the Lease."""
        if not self._certain:
            self._observe()
        if not self._is_free():
            self._note_holder()
            self.rival = None
            self._until = min(self._until, self._clock())
            return None
        if self._leading and successor(self._lease):
            self._hand_over()
            return None
        if self._rivalled():
            return None
        write = self._client.replace if self._lease else self._client.create
        claim = claimed(self._lease.get("spec", {}), self.identity, self._timing.duration)
        # A failed write may have taken effect: read the Lease before the next one.
        self._certain = False
        sent = self._clock()
        self._lease = write(LEASES, {**self._blank, **self._lease, "spec": claim}, timeout=self._call_seconds())
        self._certain = True
        if self._rivalled():  # it started at the same time, and may not have seen our Lease
            self._give_back()
            return None
        return sent

    def _rivalled(self) -> bool:
        """Look for another active installation, if this one is about to lead."""
        if self._leading:
            return False
        before, self.rival = self.rival, self._find_rival()
        if self.rival and self.rival != before:
            _log.warning("not leading: another installation leads (%s); uninstall one of the two", self.rival)
        elif before and not self.rival:
            _log.info("no other installation leads any more")
        return self.rival is not None

    def _hand_over(self) -> None:
        """End the term, give writes under way a moment, and make another process the holder."""
        timeout = self._call_seconds()
        self._until = self._clock()
        self._end_term()
        self._stopping.wait(HAND_OVER_SECONDS)
        self._certain = False
        self._client.replace(LEASES, handed_over(self._lease, self._timing.duration), timeout=timeout)
        self._holder = successor(self._lease)
        _log.info("stopped leading: handed Lease %s/%s over to %s", self._namespace, self._name, self._holder)

    def _report(self, error: ApiError) -> None:
        """Log a failed attempt. An uninstall takes away the right to read the Lease: log that once."""
        if isinstance(error, Forbidden) and self._holder.startswith(UNINSTALL):
            if not self._removed:
                _log.info("the installation is being removed: Lease %s/%s is out of reach", self._namespace, self._name)
            self._removed = True
        else:
            _log.warning("cannot acquire or renew Lease %s/%s: %s", self._namespace, self._name, error)

    def _give_back(self) -> None:
        self._certain = False
        self._release({**self._lease, "spec": released(self._lease["spec"])}, self._call_seconds())

    def _observe(self) -> None:
        try:
            lease = self._client.get(LEASES, self._namespace, self._name, timeout=self._call_seconds())
        except NotFound:
            lease = {}
        # Only a changed election record is a sign of life; a new label on the Lease is not.
        if lease.get("spec") != self._lease.get("spec"):
            self._seen = self._clock()
        self._lease = lease

    def _is_free(self) -> bool:
        spec = self._lease.get("spec", {})
        holder = spec.get("holderIdentity")
        respected = spec.get("leaseDurationSeconds", self._timing.duration)
        ours = holder == self.identity or (self._pod and str(holder).rpartition("_")[0] == self._pod)
        return not holder or bool(ours) or self._clock() >= self._seen + respected

    def _note_holder(self) -> None:
        """Log whom this replica waits for, once for each."""
        holder = str(self._lease["spec"]["holderIdentity"])
        if holder != self._holder:
            self._holder = holder
            _log.info("standing by: %s holds lease %s/%s", holder, self._namespace, self._name)

    def _call_seconds(self) -> float:
        return min(self._timing.call, self.remaining() or self._timing.call)

    def _begin_term(self) -> None:
        if not self._leading and self.is_leader():
            self._leading, self._holder = True, ""
            _log.info("became leader: %s holds Lease %s/%s", self.identity, self._namespace, self._name)
            self._on_started()

    def _end_term_if_over(self) -> None:
        if self._leading and not self.is_leader():
            _log.warning("stopped leading: lost Lease %s/%s", self._namespace, self._name)
            self._end_term()

    def _end_term(self) -> None:
        self._leading = False
        self._on_stopped()

    def _resign(self) -> None:
        if not self._leading:
            return
        timeout = self._call_seconds()
        self._until = self._clock()
        self._end_term()
        spec = self._lease.get("spec", {})
        if spec.get("holderIdentity") == self.identity:
            self._release({**self._lease, "spec": released(spec)}, timeout)

    def _release(self, lease: Object, timeout: float) -> None:
        try:
            self._client.replace(LEASES, lease, timeout=timeout)
        except ApiError as error:
            _log.warning("cannot release Lease %s/%s, so it must expire: %s", self._namespace, self._name, error)
