"""One verdict for all who ask, and how long it is remembered."""

from typing import Any

import pytest

from app.controller.gauges import FindingGauges
from app.controller.verdict_cache import VerdictCache
from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy_report import results
from app.core.resources.records import replace
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.verdict import Verdict, remediation, review
from tests.builders import guard_policy as policy

MANIFEST: dict[str, Any] = {
    "metadata": {"name": "api", "namespace": "team", "uid": "1"},
    "spec": {"hosts": ["api.example.com"], "ports": [{"number": 443, "protocol": "TLS"}], "resolution": "NONE"},
}


@pytest.fixture
def reviewed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServiceEntry, GuardPolicy]]:
    """Everything that is reviewed from here on."""
    seen = list[tuple[ServiceEntry, GuardPolicy]]()

    def counted(entry: ServiceEntry, policy: GuardPolicy) -> Verdict:
        seen.append((entry, policy))
        return review(entry, policy)

    monkeypatch.setattr("app.controller.verdict_cache.review", counted)
    return seen


def test_an_entry_is_reviewed_once_for_all_who_ask(reviewed: list[Any]) -> None:
    judge, entry, remediating = VerdictCache(), ServiceEntry.parse(MANIFEST), policy(existing="Remediate")
    gauges = FindingGauges(lambda one: judge(one, remediating))
    gauges.put(entry.key, entry)
    assert remediation(entry, remediating, judge) == review(entry, remediating).patch != ()
    assert results(entry, remediating, judge=judge) == results(entry, remediating)
    assert judge(entry, remediating) == review(entry, remediating)
    assert len(reviewed) == 1


def test_a_changed_entry_is_reviewed_again(reviewed: list[Any]) -> None:
    judge, entry = VerdictCache(), ServiceEntry.parse(MANIFEST)
    changed = replace(entry, resolution="DNS")
    for one in (entry, changed, entry, changed):
        assert judge(one, default_policy()) == review(one, default_policy())
    assert len(reviewed) == 2


def test_an_entry_is_reviewed_again_under_another_policy(reviewed: list[Any]) -> None:
    judge, entry = VerdictCache(), ServiceEntry.parse(MANIFEST)
    for one in (default_policy(), off := policy(mode="Off"), off):
        assert judge(entry, one) == review(entry, one)
    assert len(reviewed) == 2


def test_no_more_is_remembered_than_the_limit(reviewed: list[Any]) -> None:
    judge, entries = VerdictCache(limit=2), [ServiceEntry.parse(MANIFEST) for _ in range(3)]
    for entry in [*entries, entries[2], entries[1], entries[0]]:
        judge(entry, default_policy())
    assert [id(entry) for entry, _ in reviewed] == [id(entries[number]) for number in (0, 1, 2, 0)]
