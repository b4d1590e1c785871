"""One fault at a time: the stream, the fault, the end of the stream, and the time until all is right again."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from app.kube.errors import ApiError
from tests.bed.errors import BedError
from tests.bed.guard import ready
from tests.chaos.arena import NAMESPACES, Arena
from tests.chaos.audit_log import by_two, count_objects
from tests.chaos.faults import Fault, Scene
from tests.chaos.others import others
from tests.chaos.state import Difference, difference
from tests.chaos.stream import Counts, Stream

BEFORE_SECONDS = AFTER_SECONDS = 1.0
"""How long the stream runs before a fault begins, and after it has ended."""
PREPARE_SECONDS = 120.0
LOOK_SECONDS = 0.15
QUIET_SECONDS = 1.5
"""How long nothing may be written once all is right."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault led to."""

    fault: Fault
    counts: Counts
    difference: Difference
    touched: int
    """Objects of others that are not what they were."""
    by_two: int
    """Writes of a controller after another one had become the leader."""
    seconds: float
    """From the end of the fault until all was right, without the time for which the stream went on."""
    writes: int
    for_nothing: int
    """Writes that changed nothing, and writes after all was right."""
    errors: tuple[str, ...] = field(default=())
    """What the fault itself found, and lines of the product's logs that name a bug."""
    notes: tuple[str, ...] = ()

    def failures(self) -> list[str]:
        """What is not as it must be, as sentences."""
        found = [*self.difference.lost, *self.difference.lacking, *self.difference.left]
        found += [self.difference.unread] if self.difference.unread else []
        figures = {"objects of others changed": self.touched, "two writers": self.by_two, "not DNS": self.counts.raw}
        found += [f"{name}: {number}" for name, number in figures.items() if number and name not in self.fault.forced]
        return [*found, *self.errors]


@dataclass
class Runner:
    """Runs faults, one after another, in one arena."""

    arena: Arena
    stream: Stream

    @classmethod
    def of(cls, arena: Arena) -> "Runner":
        """A runner with a stream of its own."""
        return cls(arena, Stream(arena.client, NAMESPACES))

    def run(self, fault: Fault) -> Outcome:
        """Run a fault; returns when all is right again, or after the patience of the fault."""
        self._prepare()
        read = {path: path.stat().st_size for path in self.arena.logs() if path.is_file()}
        before = others(self.arena.client)
        scene = Scene(self.arena, self.stream)
        with self.stream.running():
            time.sleep(BEFORE_SECONDS)
            try:
                with fault.begin(scene):
                    time.sleep(fault.seconds)
            except (ApiError, TimeoutError, BedError, CalledProcessError) as error:
                scene.problems.append(f"the fault itself failed: {error!r}")
            ended = time.monotonic()
            time.sleep(AFTER_SECONDS)
        found, right = self._wait(fault.patience)
        if not found.right:
            self._repair()
        time.sleep(QUIET_SECONDS if found.right else 0.0)
        writes = self.arena.audit.take()
        late = count_objects(write for write in writes if write.ended.timestamp() > right.wall)
        return Outcome(
            fault=fault,
            counts=self.stream.counts,
            difference=found,
            touched=_changed(before, others(self.arena.client)),
            by_two=by_two(writes),
            seconds=max(0.0, right.monotonic - ended - AFTER_SECONDS),
            writes=count_objects(writes),
            for_nothing=self.arena.audit.for_nothing(writes) + late,
            errors=(*scene.problems, *_errors(self.arena.logs(), read)),
            notes=tuple(scene.notes),
        )

    def _prepare(self) -> None:
        """Wait until nothing of the last fault is left, and forget its writes."""
        self.arena.leader()
        found, _ = self._wait(PREPARE_SECONDS)
        if not found.right:
            raise RuntimeError(f"not right before the fault: {found}")
        for controller in self.arena.controllers:
            controller.child.wait_until(partial(ready, controller.health_port), "it is ready")
        self.arena.audit.for_nothing(self.arena.audit.take())

    def _repair(self) -> None:
        """Start the product again after a fault that it did not get over, so that the next fault begins well."""
        for place in range(len(self.arena.controllers)):
            self.arena.restart(place)

    def _wait(self, seconds: float) -> tuple[Difference, "Moment"]:
        """Look until all is right, or time is up; the last look, and when it began."""
        deadline = time.monotonic() + seconds
        while True:
            moment = Moment(time.monotonic(), time.time())
            found = difference(self.arena.client, self.stream.ledger)
            if found.right or time.monotonic() > deadline:
                return found, moment
            time.sleep(LOOK_SECONDS)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on both clocks."""

    monotonic: float
    wall: float


def _changed(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> int:
    return sum(after.get(identity) != content for identity, content in before.items())


def _errors(logs: list[Path], read: Mapping[Path, int]) -> Iterator[str]:
    """The lines that a log must not have, since what was read of it before."""
    for path in logs:
        if path.is_file():
            for line in path.read_bytes()[read.get(path, 0) :].decode(errors="replace").splitlines():
                if _is_bug(line):
                    yield f"{path.name}: {line[:400]}"


def _is_bug(line: str) -> bool:
    """Whether a line of a log is an unexpected error, or no line of a log at all."""
    try:
        record = json.loads(line)
    except ValueError:
        return True
    return not isinstance(record, dict) or "exception" in record or "unexpected" in str(record.get("message"))
