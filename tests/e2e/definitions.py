"""Words of Istio's API that older definitions lack. Cases with one of them are left out there, by name."""

import json
import os
from functools import cache

import pytest

from tests.bed.binaries import ASSETS
from tests.bed.control_plane import CRDS, ControlPlane
from tests.cases import Case

NEWER = {
    "DYNAMIC_DNS": "newer than 1.26",
    "backoff": "1.26",
    "retryIgnorePreviousHosts": "1.26",
}
"""Words, and the Istio that has them."""


def knows(control_plane: ControlPlane, case: Case) -> bool:
    """Whether the API server can store the entry of a case, and what is emitted for it."""
    return not _lacking(control_plane, case)


def require_definitions(control_plane: ControlPlane, case: Case) -> None:
    """Leave the case out where Istio's definitions lack a word of it; those of a usual run have all."""
    if lacking := _lacking(control_plane, case):
        why = f"{lacking} needs Istio {NEWER[lacking]}"
        if ASSETS not in os.environ:
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


def _lacking(control_plane: ControlPlane, case: Case) -> str:
    text = json.dumps([case.spec, case.resolution, case.http])
    return next((word for word in NEWER if f'"{word}"' in text and not _known(control_plane, word)), "")


@cache
def _known(control_plane: ControlPlane, word: str) -> bool:
    return f'"{word}"'.encode() in control_plane.get(CRDS)[1]
