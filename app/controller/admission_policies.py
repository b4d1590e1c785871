"""The reconciler of the backstop: it keeps the admission policies in the API server in step with the policy.

Each pass reads every object by name, and repairs one that was deleted or edited. It lists and watches nothing, so that
RBAC can limit all rights except create to these names.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from app.controller.leadership import Leadership
from app.controller.worker import LeaderTask
from app.core.cel.admission_policy import MUTATING, NAMES, Engine, backstop
from app.core.policy.model import GuardPolicy
from app.core.resources.fields import JSON
from app.core.resources.service_entry import ADMISSION_GROUP, MANAGED_BY, MANAGER
from app.core.rules.kept_resolutions import Standing
from app.kube.apply import apply_exactly, is_ours
from app.kube.client import Client, Object
from app.kube.errors import Forbidden, NotFound
from app.kube.resources import ADMISSION_POLICIES
from app.policyfile import PolicyFile
from app.telemetry.metrics import BackstopMetrics

log = logging.getLogger(__name__)

PolicyKey = tuple[str, str]
"""Kind and name."""


class SiblingsSource(Protocol):
    """The stored entries that keep their resolution; known after every entry was reviewed."""

    @property
    def ready(self) -> bool:
        """Whether the entries are known."""
        ...

    @property
    def version(self) -> int:
        """A number that changes with the entries."""
        ...

    def standing(self) -> Standing:
        """Return them."""
        ...


LOOK_SECONDS = 0.5
"""Seconds between two checks of the policy in force."""
CHECK_SECONDS = 5.0
"""Seconds between two checks of the objects, so the maximum time until a deleted or edited object is repaired."""
SETTLE_SECONDS = 3.0
"""Seconds until every API server has loaded a new repairing policy. Only then the rejecting policies are written."""
LONG = 3600.0
"""Seconds between two checks while no engine is set."""


class Backstop:
    """Keeps the objects of an engine (None: deletes all). `check` is one pass. Objects of others stay unchanged."""

    def __init__(  # noqa: PLR0913 - what is kept, for whom, and how it is told
        self,
        client: Client,
        policy: PolicyFile,
        engine: Engine | None,
        metrics: BackstopMetrics,
        siblings: SiblingsSource,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._policy = policy
        self._engine = engine
        self._metrics = metrics
        self._siblings = siblings
        self._clock = clock
        self._version: int | None = None
        self._current: GuardPolicy | None = None
        self._objects: tuple[JSON, ...] = ()
        self._taken: dict[PolicyKey, tuple[JSON, JSON]] = {}
        self._foreign = frozenset[PolicyKey]()
        self._due = 0.0

    def check(self) -> float:
        """Check and repair all objects; returns the seconds until the next pass."""
        policy, native = self._policy.current, self._engine is Engine.NATIVE
        version = self._siblings.version if native else None
        same = policy is self._current and version == self._version
        if (same and self._clock() < self._due) or (native and not self._siblings.ready):
            return LOOK_SECONDS
        if not same:
            self._objects = backstop(policy, self._engine, self._siblings.standing()) if self._engine else ()
        self._clear({_place(desired) for desired in self._objects})
        seconds = self._keep()
        self._current, self._version, self._due = policy, version, self._clock() + seconds
        return LOOK_SECONDS if self._engine else LONG

    def _keep(self) -> float:
        foreign = set[PolicyKey]()
        for manifest in self._objects:
            found = self._find(_place(manifest))
            if found and not is_ours(found):
                foreign.add(_place(manifest))
            elif not found or not self._is_right(found, manifest):
                self._write(manifest, found)
                if manifest["kind"] == f"{MUTATING}Binding":
                    return SETTLE_SECONDS
        self._tell(frozenset(foreign))
        return CHECK_SECONDS

    def _is_right(self, found: Object, manifest: JSON) -> bool:
        """Say whether an object equals the written one, apart from fields that the API server fills."""
        written, taken = self._taken.get(_place(manifest), (None, None))
        spec = found["spec"]
        return bool(spec == manifest["spec"] or (written == manifest["spec"] and taken == spec))

    def _write(self, manifest: JSON, found: Object | None) -> None:
        """Write an object, only over the observed version."""
        kind, name = place = _place(manifest)
        seen = found["metadata"]["resourceVersion"] if found else None
        try:
            stored = apply_exactly(self._client, ADMISSION_POLICIES[kind], manifest, seen)
        except NotFound as error:
            raise NotFound(
                error.status, error.reason, f"this API server does not serve {kind} of {ADMISSION_GROUP}/v1"
            ) from error
        self._taken[place] = manifest["spec"], stored["spec"]
        self._metrics.writes.inc()
        log.info("applied %s %s", kind, name)

    def _clear(self, kept: set[PolicyKey]) -> None:
        """Delete objects of an earlier policy or engine: rejecting ones first, and each binding before its policy."""
        try:
            for place in _all_places():
                found = None if place in kept else self._find(place)
                if found and is_ours(found):
                    self._delete(place, found)
        except Forbidden as error:
            if self._engine:
                raise
            log.info(
                "cannot look for admission policies of an earlier backstop setting, so none is deleted: %s",
                error.message,
            )

    def _delete(self, place: PolicyKey, found: Object) -> None:
        kind, name = place
        self._client.delete(ADMISSION_POLICIES[kind], None, name, uid=found["metadata"]["uid"])
        self._metrics.writes.inc()
        log.info("deleted %s %s", kind, name)

    def _find(self, place: PolicyKey) -> Object | None:
        kind, name = place
        try:
            return self._client.get(ADMISSION_POLICIES[kind], None, name)
        except NotFound:
            return None

    def _tell(self, foreign: frozenset[PolicyKey]) -> None:
        for kind, name in sorted(foreign - self._foreign):
            log.warning("not changing %s %s: it has no label %s: %s", kind, name, MANAGED_BY, MANAGER)
        self._foreign = foreign


def backstop_task(
    engine: Engine | None, policy: PolicyFile, metrics: BackstopMetrics, siblings: SiblingsSource
) -> Callable[[Client, Leadership], LeaderTask]:
    """Return a function that creates the leader's task from a fenced client and the leadership."""

    def make(client: Client, leadership: Leadership) -> LeaderTask:
        kept = Backstop(client, policy, engine, metrics, siblings)
        return LeaderTask("backstop", kept.check, leadership, metrics.failures.inc)

    return make


def _place(manifest: JSON) -> PolicyKey:
    return manifest["kind"], manifest["metadata"]["name"]


def _all_places() -> Iterator[PolicyKey]:
    for kind, name in NAMES:
        yield f"{kind}Binding", name
        yield kind, name
