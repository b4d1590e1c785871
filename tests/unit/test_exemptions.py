"""Exemptions that end: what counts on which day, and that nothing which runs changes when a day ends."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy
from app.core.resources.days import DAY, days_between, is_day, later, parse_days
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from app.core.routes.survey import Sourced, survey
from app.core.rules.verdict import Verdict, remediation, review, review_update
from tests.builders import CIDR, HTTP, entry, guard_policy

EXEMPT, UNTIL = "serviceentry-guard.io/exempt", "serviceentry-guard.io/exempt-until"
REASON = "OPS-1234: the vendor pins its addresses"
LAST = "2027-03-31"
"""The last day of the exemptions here."""
SPEC: dict[str, Any] = {"hosts": ["api.example.com"], "ports": [HTTP], "resolution": "NONE"}


def manifest(
    *, until: str | None = LAST, reason: str = REASON, fields: list[Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """An entry that exempts itself, as it is stored since the first of March."""
    annotations = {EXEMPT: reason} | ({} if until is None else {UNTIL: until})
    metadata = {"name": "api", "namespace": "team", "annotations": annotations, "managedFields": fields or []}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {**metadata, "creationTimestamp": "2027-03-01T12:00:00Z"},
        "spec": {**SPEC, **spec},
    }


def written(day: str, *owned: str, subresource: str = "") -> dict[str, Any]:
    """What the API server notes of a write: the day, and the fields that the writer owns."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{one}": {} for one in owned if "/" in one}}}
    fields |= {f"f:{one}": {} for one in owned if "/" not in one}
    return {"manager": "kubectl", "time": f"{day}T23:59:59Z", "fieldsV1": fields, "subresource": subresource}


def policy(today: str, **exemptions: Any) -> GuardPolicy:
    """A policy on a day that lets teams exempt their entries."""
    return guard_policy(existing="Remediate", exemptions={"annotation": "Allow", **exemptions}).on(today)


def admitted(today: str, given: dict[str, Any] | None = None, **exemptions: Any) -> Verdict:
    """What admission says on a day."""
    in_force = policy(today, **exemptions)
    return review(ServiceEntry.parse(given or manifest(), written=today), in_force)


def stored(today: str, given: dict[str, Any] | None = None, **exemptions: Any) -> Verdict:
    """What is said on a day of an entry that is stored."""
    return review(ServiceEntry.parse(given or manifest()), policy(today, **exemptions))


def said(verdict: Verdict) -> list[str]:
    return [finding.sentence for finding in verdict.findings]


class TestAtAdmission:
    """A write is judged by the day on which it comes."""

    def test_an_exemption_counts_to_the_end_of_its_last_day(self) -> None:
        assert admitted("2027-03-31").codes == ("SEG002", "SEG047")
        after = admitted("2027-04-01")
        assert after.codes == ("SEG014", "SEG003")
        assert after.patch
        assert f"has no effect: it ended on {LAST}" in said(after)[0]

    def test_it_is_shown_with_its_end_and_reason(self) -> None:
        assert said(admitted("2027-03-01")) == [
            f'SEG002 metadata.annotations["{EXEMPT}"]: exempt until {LAST}: "{REASON}"'
        ]

    def test_an_unfixable_entry_is_rejected_after_the_end(self) -> None:
        given = manifest(addresses=["192.0.2.0/24"])
        assert admitted("2027-03-31", given).allowed
        assert [one.code for one in admitted("2027-04-01", given).errors] == ["SEG006"]

    def test_an_update_that_does_not_touch_the_entry_is_not_refused_after_the_end(self) -> None:
        old = manifest(addresses=["192.0.2.0/24"])
        new = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
        in_force = policy("2027-04-01")
        update = ServiceEntry.parse(new, written="2027-04-01")
        assert review_update(update, old, new, in_force).allowed
        changed = {**new, "spec": {**new["spec"], "exportTo": ["."]}}
        assert not review_update(ServiceEntry.parse(changed, written="2027-04-01"), old, changed, in_force).allowed

    @pytest.mark.parametrize(
        ("given", "exemptions", "why"),
        [
            (
                manifest(until=None),
                {"requireExpiry": True},
                "the policy requires an end, such as exempt-until: 2027-03-31",
            ),
            (
                manifest(until=None),
                {"maxDuration": "90d"},
                "the policy requires an end, such as exempt-until: 2027-03-31",
            ),
            (manifest(until="soon"), {}, 'exempt-until "soon" is not a day such as 2027-03-31'),
            (manifest(until="2027-02-29"), {}, 'exempt-until "2027-02-29" is not a day such as 2027-03-31'),
            (manifest(until="2027-03-31 "), {}, 'exempt-until "2027-03-31 " is not a day such as 2027-03-31'),
            (
                manifest(),
                {"maxDuration": "29d"},
                "it ends on 2027-03-31, and the policy allows 29d at most: 2027-03-30",
            ),
            (manifest(reason=" \t"), {}, "it gives no reason"),
            (manifest(reason=" OPS-123 "), {}, "its reason has fewer than 8 characters"),
            (manifest(reason="x" * 501), {}, "its reason has more than 500 characters"),
            (manifest(), {"reasonPattern": "^NET-"}, 'its reason does not match "^NET-", the pattern of the policy'),
        ],
    )
    def test_an_annotation_that_does_not_count_says_why(
        self, given: dict[str, Any], exemptions: dict[str, Any], why: str
    ) -> None:
        verdict = admitted("2027-03-01", given, **exemptions)
        assert said(verdict)[0] == f'SEG014 metadata.annotations["{EXEMPT}"]: has no effect: {why}'
        assert verdict.patch

    @pytest.mark.parametrize(
        ("given", "exemptions"),
        [
            (manifest(until=None), {}),
            (manifest(), {"requireExpiry": True, "maxDuration": "30d"}),
            (manifest(reason="OPS-1234"), {"reasonPattern": r"^[A-Z]+-\d+$"}),
            (manifest(reason="x" * 500), {}),
        ],
    )
    def test_an_annotation_that_is_as_the_policy_asks_counts(
        self, given: dict[str, Any], exemptions: dict[str, Any]
    ) -> None:
        assert admitted("2027-03-01", given, **exemptions).codes == ("SEG002",)

    def test_an_end_without_exempt_has_a_finding(self) -> None:
        alone = entry(annotations={"exempt-until": LAST})
        message = f'SEG014 metadata.annotations["{UNTIL}"]: has no effect without exempt'
        assert said(review(alone, policy("2027-03-01"))) == [message]
        assert review(entry(annotations={"exempt-until": "x"}), policy("2027-03-01")).codes == ("SEG014",)

    def test_an_exemption_of_the_policy_ends_as_well(self) -> None:
        temporary = [{"namespaces": ["team"], "until": LAST, "reason": "OPS-1: moves"}]
        plain = {**manifest(), "metadata": {"name": "api", "namespace": "team"}}
        before = admitted("2027-03-01", plain, temporary=temporary)
        assert said(before) == [f'SEG002 metadata.namespace: the policy exempts the entry until {LAST}: "OPS-1: moves"']
        after = admitted("2027-04-01", plain, temporary=temporary)
        assert after.codes == ("SEG047", "SEG003")
        assert f"the policy's exemption of the entry ended on {LAST}, so the entry is reviewed" in said(after)[0]

    def test_of_several_exemptions_of_the_policy_the_last_to_end_counts(self) -> None:
        several = [{"until": day} for day in ("2026-01-01", "2027-05-01", "2027-04-01")]
        plain = {**manifest(), "metadata": {"name": "api", "namespace": "team"}}
        assert admitted("2027-03-01", plain, temporary=several).exempt_until == "2027-05-01"
        over = said(admitted("2028-01-01", plain, temporary=several))[0]
        assert "ended on 2027-05-01" in over

    def test_one_without_an_end_counts_before_one_that_ends(self) -> None:
        verdict = admitted("2027-03-31", namespaces=["team"])
        assert (verdict.codes, verdict.exempt_until) == (("SEG002",), "")


class TestStored:
    """What is stored stays exempt until it is written: no decision on it depends on the day."""

    def test_nothing_starts_when_the_day_ends(self) -> None:
        kept = ServiceEntry.parse(manifest())
        for today in ("2027-03-01", LAST, "2027-04-01", "2029-01-01"):
            verdict = review(kept, policy(today))
            assert (verdict.allowed, verdict.patch, verdict.exempt_until) == (True, (), LAST)
            assert remediation(kept, policy(today)) == ()

    def test_nothing_is_emitted_until_it_is_written_again(self) -> None:
        after = policy("2027-04-01")
        resolved = manifest(resolution="DNS")
        assert _emitted(resolved, after) == []
        rewritten = manifest(resolution="DNS", fields=[written("2027-04-01", "spec")])
        assert _emitted(rewritten, after) == ["api.example.com"]

    def test_the_finding_appears_14_days_before_the_end(self) -> None:
        assert stored("2027-03-16").codes == ("SEG002",)
        before, after = stored("2027-03-17"), stored("2027-04-01")
        place = f'SEG047 metadata.annotations["{EXEMPT}"]'
        assert said(before)[1:] == [
            f"{place}: the exemption ends on {LAST}; after that day the next write of the entry is reviewed"
        ]
        assert said(after)[1:] == [
            f"{place}: the exemption ended on {LAST}; after that day the next write of the entry is reviewed"
        ]

    def test_the_end_of_an_exemption_of_the_policy_is_a_note_where_nothing_is_to_be_changed(self) -> None:
        plain = {**manifest(), "metadata": {"name": "api", "namespace": "team"}}
        for resolution, severity in (("NONE", "warning"), ("DNS", "info")):
            given = {**plain, "spec": {**plain["spec"], "resolution": resolution}}
            for today in (LAST, "2027-04-01"):
                verdict = admitted(today, given, temporary=[{"until": LAST}])
                found = [one.severity.value for one in verdict.findings if one.code == "SEG047"]
                assert found == [severity]

    def test_the_message_does_not_change_from_day_to_day(self) -> None:
        assert stored("2027-03-17") == stored("2027-03-30") == stored(LAST)
        assert stored("2027-04-01") == stored("2028-04-01")

    @pytest.mark.parametrize(
        ("fields", "day"),
        [
            ([], "2027-03-01"),
            ([written("2027-04-02", "spec")], "2027-04-02"),
            ([written("2027-04-02", EXEMPT)], "2027-04-02"),
            ([written("2027-04-02", UNTIL), written("2027-04-01", "spec")], "2027-04-02"),
            ([written("2027-04-02", "metadata"), written("2027-04-02", "example.com/x")], "2027-03-01"),
            ([written("2027-04-02", "spec", subresource="status")], "2027-03-01"),
            ([{"manager": "odd"}, "odd", {"fieldsV1": {"f:spec": {}}}], "2027-03-01"),
        ],
    )
    def test_a_write_is_one_of_the_spec_or_of_an_annotation_of_ours(self, fields: list[Any], day: str) -> None:
        assert ServiceEntry.parse(manifest(fields=fields)).written == day
        assert ServiceEntry.parse(manifest(fields=fields)).problems == ()

    def test_an_entry_that_is_written_after_the_end_is_judged_for_good(self) -> None:
        rewritten = manifest(fields=[written("2027-04-02", "spec")])
        assert stored("2027-04-02", rewritten).codes == ("SEG014", "SEG003")
        renewed = manifest(until="2027-05-31", fields=[written("2027-04-03", "spec", UNTIL)])
        assert stored("2027-04-03", renewed).codes == ("SEG002",)

    def test_how_far_away_the_end_may_be_counts_from_the_write(self) -> None:
        assert stored("2027-03-30", maxDuration="30d").exempt_until == LAST
        assert stored("2027-03-30", maxDuration="29d").exempt_until == ""

    def test_export_to_of_a_virtual_service_does_not_depend_on_the_day_either(self) -> None:
        public = entry(created="2026-01-01T00:00:00Z", namespace="first")
        neighbour = manifest(resolution="DNS")
        for exemptions in ({}, {"temporary": [{"namespaces": ["team"], "until": "2020-01-01"}]}):
            reached = [_reach(public, neighbour, policy(day, **exemptions)) for day in ("2027-03-01", "2028-01-01")]
            assert reached[0] == reached[1] == [["."]]


def _emitted(given: dict[str, Any], in_force: GuardPolicy) -> list[str]:
    """What the controller emits for a stored entry."""
    return [one.key.name for one in desired([ServiceEntry.parse(given)], in_force).objects]


def _reach(public: ServiceEntry, neighbour: dict[str, Any], in_force: GuardPolicy) -> list[Any]:
    objects = desired([public, ServiceEntry.parse(neighbour)], in_force).objects
    return [one.manifest["spec"].get("exportTo") for one in objects if one.owner is public]


def test_a_file_that_is_reviewed_is_written_on_the_day_of_the_review() -> None:
    for today, outcome in ((LAST, "allowed"), ("2027-04-01", "changed")):
        (reviewed,) = survey([Sourced("file", manifest())], policy(today))
        assert reviewed.outcome == outcome


@given(st.dates(min_value=date(1000, 1, 1)), st.integers(0, 9999))
def test_days_are_those_of_the_calendar(day: date, number: int) -> None:
    text = day.isoformat()
    assert is_day(text)
    assert days_between(text, later(text, number)) == min(number, (day.max - day).days)


@given(st.from_regex(rf"\A{DAY}\Z"))
def test_every_text_of_the_shape_is_a_day(text: str) -> None:
    assert days_between(text, text) == 0


@pytest.mark.parametrize(
    "text", ["2027-02-29", "1900-02-29", "2027-04-31", "2027-13-01", "0999-01-01", "2027-3-31", ""]
)
def test_a_text_that_is_not_a_day_gives_none(text: str) -> None:
    assert not is_day(text)


def test_leap_days_are_days() -> None:
    assert all(map(is_day, ("2000-02-29", "2028-02-29", "2400-02-29")))


def test_a_number_of_days_keeps_its_text() -> None:
    assert (parse_days("90d").days, str(parse_days("90d"))) == (90, "90d")


def test_a_policy_is_dated_only_where_something_depends_on_the_day() -> None:
    forbids = {"annotation": "Forbid"}
    assert guard_policy().dated
    assert not guard_policy(exemptions=forbids).dated
    assert guard_policy(exemptions={**forbids, "temporary": [{"until": LAST}]}).dated
    layer = {"match": ["a"], "exemptions": {"annotation": "Allow"}}
    assert guard_policy(exemptions=forbids, namespaces=[layer]).dated
    in_force = guard_policy().on(LAST)
    assert in_force.on(LAST) is in_force


def test_exempt_entries_are_still_judged_for_hosts_of_others() -> None:
    owners = [{"match": ["api.example.com"], "namespaces": ["payments"]}]
    in_force = guard_policy(hosts={"owners": owners}).on("2027-03-01")
    verdict = review(ServiceEntry.parse(manifest(**CIDR), written="2027-03-01"), in_force)
    assert (verdict.codes, verdict.allowed, verdict.exempt_until) == (("SEG002", "SEG043"), False, LAST)
