"""No field of the policy without a case that shows what it does, and a line in docs/policy.md that says it."""

import copy
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.cel.admission_policy import Engine, backstop
from app.core.policy.model import GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.survey import Sourced, survey
from app.core.rules.policy_lint import lint
from app.core.rules.verdict import remediation
from app.policyfile import decode_policy
from app.reference import PolicyField, fields
from tests.cases import CASES, TODAY, Case
from tools.reference.policy import DOCS, reference

NOT_ADMISSION = (
    "destinationRule",
    "dns",
    "existing",
    "limits",
    "resolution.splitHosts",
    "virtualService.enabled",
    "virtualService.grpc",
    "virtualService.overrides.reach",
    "virtualService.reach",
    "virtualService.retries",
    "virtualService.timeout",
    "virtualService.unsafeMethods",
    "virtualService.yieldTo",
)
"""Fields, and parts of the policy, that say nothing of one entry by itself: docs/backstop.md has what they say."""
WITHOUT_EFFECT = {"apiVersion", "kind", "metadata.name"}
SHOWN_ELSEWHERE = {"dns.maxQueriesPerSecond"}
"""What only counts where a number of proxies is given: tests/unit/test_dns_load.py."""


def leaves(among: tuple[PolicyField, ...]) -> Iterator[PolicyField]:
    for field in among:
        yield from (leaves(field.fields) if field.section else (field, *leaves(field.fields)))


PATHS = [".".join(field.path) for field in leaves(fields())]


def without(document: Any, path: list[str]) -> Any:
    """Leave a field out; None where it is not there. An entry of a list goes with the field that it must have."""
    name, *rest = path
    if name.endswith("[]"):
        entries = document.get(name.removesuffix("[]"), [])
        return {**document, name.removesuffix("[]"): entries[1:]} if entries else None
    if name not in document:
        return None
    if rest:
        inner = without(document[name], rest) if isinstance(document[name], dict) else None
        return None if inner is None else {**document, name: inner}
    return {key: value for key, value in document.items() if key != name}


def outcome(case: Case, policy: GuardPolicy) -> Any:
    """Return all that the guard makes of a case."""
    beside = [Sourced("beside", manifest) for manifest in case.beside]
    reviewed, *_ = survey([Sourced("case", case.manifest()), *beside], policy)
    emitted = [one.manifest for one in reviewed.emitted]
    return reviewed.findings, reviewed.stored, emitted, remediation(ServiceEntry.parse(case.manifest()), policy)


def policies(case: Case, path: str) -> Iterator[tuple[GuardPolicy, GuardPolicy]]:
    """The policy of a case without a field and with it, if it sets the field."""
    document = copy.deepcopy(case.guard_policy())
    changed = without(document, path.split("."))
    if changed is not None:
        yield parse_policy(changed).on(TODAY), parse_policy(document).on(TODAY)


def shows(case: Case, path: str) -> bool:
    """Say whether a case sets a field, and comes out otherwise without it."""
    return any(outcome(case, one) != outcome(case, other) for one, other in policies(case, path))


@pytest.mark.parametrize("path", [path for path in PATHS if path not in WITHOUT_EFFECT | SHOWN_ELSEWHERE])
def test_every_field_has_a_case_that_comes_out_otherwise_without_it(path: str) -> None:
    assert any(shows(case, path) for case in CASES), f"add a case to tests/cases in which {path} makes a difference"


def test_every_field_that_decides_admission_has_its_counterpart_in_cel() -> None:
    fields_ = [path for path in PATHS if path not in WITHOUT_EFFECT]
    assert [path for path in fields_ if path.startswith(NOT_ADMISSION) is _in_cel(path)] == []
    page = Path("docs/backstop.md").read_text()
    assert [name for name in NOT_ADMISSION if f"`{name}`" not in page] == [], "say it among the differences"


def _in_cel(path: str) -> bool:
    pairs = (pair for case in CASES for pair in policies(case, path))
    return any(backstop(one, engine) != backstop(other, engine) for one, other in pairs for engine in Engine)


def test_every_field_is_documented() -> None:
    generated = reference()
    assert [path for path in PATHS if f"`{path}`" not in generated] == []


def test_every_example_of_the_documentation_is_a_sound_policy() -> None:
    examples = re.findall(r"^ *```yaml\n(.*?)```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) > 6
    for example in examples:
        assert lint(decode_policy(textwrap.dedent(example).encode(), "example")) == ()
