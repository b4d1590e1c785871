"""One process of the controller, without threads: its parts do a step when they are told to.

What its threads do between two calls to the API server is atomic here. In a call, other parts and other replicas may do
their steps (a fault says so), which are the interleavings that threads have.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from app.controller.manager import Manager
from app.controller.workqueue import WorkQueue
from app.core.policy.model import GuardPolicy
from app.kube.client import Client
from app.policyfile import PolicyFile
from app.settings import ControllerSettings
from app.telemetry.metrics import ControllerMetrics
from tests.model.faults import FaultySession, Killed

NAMESPACE, CONFIG_MAP = "guard", "siblings"
QUEUES = ("reconcile", "remediate", "report")
STEPS = 10_000
"""Maximum number of steps until a queue must be empty."""


class Pauses(threading.Event):
    """The signal to stop: a wait for it ends at once, and time passes."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def wait(self, timeout: float | None = None) -> bool:
        """Let time pass."""
        self._advance(timeout or 0.0)
        return self.is_set()


class Policies(PolicyFile):
    """A policy file that changes when it is told to."""

    def __init__(self, wanted: Callable[[], GuardPolicy]) -> None:
        super().__init__(None, lambda _taken: None)
        self._wanted = wanted
        self.current = wanted()

    def poll(self) -> bool:
        """Take the wanted policy."""
        before, self.current = self.current, self._wanted()
        return self.current is not before


class Replica:
    """A controller that is started anew when its process was killed."""

    def __init__(
        self,
        name: str,
        session: Callable[[str], FaultySession],
        *,
        policy: Callable[[], GuardPolicy],
        clock: Callable[[], float],
        advance: Callable[[float], None],
        pod: str = "",
    ) -> None:
        self.name = name
        self._session_of = session
        self._policy = policy
        self._clock = clock
        self._advance = advance
        self._pod = pod
        self._busy: list[str] = []
        self._depth = 0
        self.restart()

    def restart(self) -> None:
        """Start a new process."""
        self._session = self._session_of(self.name)
        self.policies = Policies(self._policy)
        settings = ControllerSettings(namespace=NAMESPACE, siblings_config_map=CONFIG_MAP, pod_name=self._pod)
        client = Client(self._session)  # type: ignore[arg-type]  # it has a session's methods
        manager: Any = Manager(client, settings, self.policies, ControllerMetrics(), clock=self._clock)
        pauses = Pauses(self._advance)
        manager._remediator._worker._loop.stopping = pauses
        manager._events._stopping = pauses
        self.manager = manager
        self._busy = []
        self._workers = {
            "reconcile": manager._workers._worker,
            "remediate": manager._remediator._worker,
            "report": manager._reporter._worker,
        }
        watches = {name: reflector.step for name, reflector in manager._reflectors.items()}
        own = {"lease": self._campaign, "siblings": self._siblings, "events": self._events, "policy": self._follow}
        queues = {name: self._step_of(name) for name in QUEUES}
        self._parts: Mapping[str, Callable[[], object]] = {**watches, **own, **queues}

    def kill(self) -> None:
        """End the process, and start a new one."""
        self._session.ended = True
        self.restart()

    @property
    def remaining(self) -> float:
        """The seconds for which it may write."""
        found: float = self.manager._elector.remaining()
        return found

    @property
    def leads(self) -> bool:
        """Whether it does the work of a leader."""
        found: bool = self.manager._leadership.leads()
        return found

    def run(self, part: str) -> object:
        """Let a part do one step; False if it had nothing to do. A part does not interrupt itself."""
        if part in self._busy and part != "reconcile":
            return False
        session, busy = self._session, self._busy
        busy.append(part)
        try:
            return self._parts[part]()
        except Killed:
            if session is self._session:
                self.restart()
            return True
        finally:
            busy.remove(part)

    def drain(self, part: str) -> None:
        """Let a part work until its queue has nothing that is due."""
        for _ in range(STEPS):
            if not self.run(part):
                return
        raise AssertionError(f"the queue of {part} never becomes empty")

    def waiting(self) -> float | None:
        """Return the seconds until the next retry, 0 if a key is due; None if all queues are empty."""
        queues = [self._workers[name]._queue for name in QUEUES]
        found = [seconds for queue in queues if (seconds := _waiting(queue)) is not None]
        return min(found, default=None)

    def _campaign(self) -> None:
        self.manager._elector.campaign()

    def _follow(self) -> None:
        self.manager._dispatcher.follow_policy()
        if self.leads:
            self.manager._dispatcher.tell_standing()

    def _siblings(self) -> None:
        if self.leads:
            self.manager._runnables[-1]._pass()

    def _events(self) -> bool:
        events = self.manager._events
        if not (events._waiting or events._standing):
            return False
        events._handle(*events._next())
        return True

    def _step_of(self, name: str) -> Callable[[], bool]:
        made = self._workers[name]

        def step() -> bool:
            # As the threads of Loop do it.
            return bool(self.leads and made._loop._prepare() and made.step(0.0))

        return step


def _waiting(queue: WorkQueue[Any]) -> float | None:
    now = queue._clock()
    if len(queue):
        return 0.0
    lanes = [lane for pair in queue._lanes._groups.values() for lane in pair if lane.waiting]
    ends = [lane.until for lane in lanes] + list(queue._due.values())
    return max(0.0, min(ends) - now) if ends else None
