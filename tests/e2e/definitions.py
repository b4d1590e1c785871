"""Words of Istio's API that older definitions lack. What needs one of them is left out there, by its name."""

import json
import os
from functools import cache
from typing import Any

import pytest

from tests.bed.binaries import ASSETS
from tests.bed.control_plane import CRDS, ControlPlane
from tests.cases import Case

NEWER = {"DYNAMIC_DNS": "newer than 1.26", "backoff": "1.26", "retryIgnorePreviousHosts": "1.26"}
"""Words, and the Istio that has them."""


def knows(control_plane: ControlPlane, written: Any) -> bool:
    """Whether Istio's definitions have every word of a document."""
    return not _lacking(control_plane, written)


def require_words(control_plane: ControlPlane, written: Any) -> None:
    """Leave the test out where Istio's definitions lack a word of a document; those of a usual run have all."""
    if lacking := _lacking(control_plane, written):
        why = f"{lacking} needs Istio {NEWER[lacking]}"
        if ASSETS not in os.environ:
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


def words_of(case: Case) -> Any:
    """What is stored for a case: the entry as it is written and changed, and the routes that are emitted."""
    return case.spec, case.resolution, case.http


def _lacking(control_plane: ControlPlane, written: Any) -> str:
    text = json.dumps(written)
    return next((word for word in NEWER if f'"{word}"' in text and not _known(control_plane, word)), "")


@cache
def _known(control_plane: ControlPlane, word: str) -> bool:
    return f'"{word}"'.encode() in control_plane.get(CRDS)[1]
