"""Nothing that the product reads makes it fail otherwise than with an explanation."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.policy.model import default_policy
from tests.contract.clients import REVIEW
from tests.depth import examples
from tests.fuzz.targets import TARGETS

COUNTS = {"reviews": 4000, "policies": 600, "manifests": 500, "kubeconfigs": 600, "answers": 2000}
"""How many inputs the deep run reads; the usual one reads a fifth."""


@pytest.mark.generated
@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_read_is_taken_or_explained(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    target = TARGETS[name]

    @given(st.data())
    @settings(max_examples=examples(COUNTS[name]), suppress_health_check=list(HealthCheck))
    def read(data: st.DataObject) -> None:
        target.read(data.draw(target.inputs))

    read()


def test_a_field_that_nothing_reads_need_not_be_utf_8() -> None:
    body = json.dumps(REVIEW).encode().replace(b'"uid"', b'"\x80": 1, "uid"', 1)
    assert TARGETS["reviews"].read((body, default_policy())) == "allowed"
