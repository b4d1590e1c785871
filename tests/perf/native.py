"""The time of a create with the webhook, with each engine of the backstop, and without them: the same, in turns."""

import json
from collections.abc import Iterator

from app.core.cel.admission_policy import Engine, backstop
from app.core.policy.model import default_policy
from tests.bed.control_plane import ControlPlane
from tests.e2e.backstops import LABEL, confined
from tests.perf import installation
from tests.perf.creates import Creates, Place, spread
from tests.perf.figures import Effort, Figure

GUARDED = {"webhook": "ours"}
VALIDATING = {LABEL: Engine.VALIDATING.value}
PLACES = (
    Place("nothing", "with nothing"),
    Place("native", "with the native engine", {LABEL: Engine.NATIVE.value}, repairs=True),
    Place("validating", "with the validating engine", VALIDATING),
    Place("webhook", "with the webhook", GUARDED, reviews=2, repairs=True),
    Place("both", "with the webhook and the validating engine", GUARDED | VALIDATING, reviews=2, repairs=True),
)
TURNS = 400
WARMING = 40


def run(effort: Effort) -> Iterator[Figure]:
    """Entries that are repaired where something repairs, then compliant ones."""
    with Creates() as creates:
        creates.add_webhook(GUARDED, installation.command())
        _apply_backstops(creates.control_plane)
        creates.open(PLACES)
        for resolution, shown in (("NONE", "an entry that is repaired"), ("DNS", "a compliant entry")):
            creates.turns(PLACES, resolution, WARMING)
            taken = creates.turns(PLACES, resolution, effort.count(TURNS))
            for place in PLACES:
                yield from spread(f"{shown}, {place.shown}", taken[place.name])


def _apply_backstops(control_plane: ControlPlane) -> None:
    objects = [one for engine in Engine for one in confined(backstop(default_policy(), engine), engine.value)]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=manifest)
