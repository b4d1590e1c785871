"""One trial: some circumstances, one arm, what its people write; and what is measured of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.kube.client import Object
from tests.mesh.application import Outcomes
from tests.mesh.arms import Arm


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one trial: a line of the table."""

    scenario: str
    circumstances: str
    arm: str
    requests: int
    errors: int
    message: str
    slowest: float
    """Seconds of the request that took longest."""
    remark: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Figures that tests look at."""

    @property
    def mostly_fails(self) -> bool:
        """Whether more than half of the requests fail: on a busy machine, a few can be sent before a change arrives."""
        return self.errors > self.requests / 2

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, of which `Measured(**values)` makes it again."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the work of a trial brings back."""

    outcomes: Outcomes
    remark: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """Its upstreams are open and its names point to them; `work` is done once the sidecars know the manifests."""

    scenario: str
    circumstances: str
    arm: Arm
    manifests: Sequence[Object]
    work: Callable[[], Findings]
    waits: bool = False
    """Whether it waits most of the time; else it sends what it has to send as fast as it can."""

    def run(self) -> Measured:
        """Do the work, and say what came of it."""
        found = self.work()
        outcomes = found.outcomes
        return Measured(
            self.scenario,
            self.circumstances,
            self.arm.label,
            len(outcomes.all),
            len(outcomes.errors),
            outcomes.message,
            round(outcomes.slowest, 3),
            found.remark,
            found.facts,
        )
