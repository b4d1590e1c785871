"""How a policy is read: what it means, and what is refused, with the path and what is allowed there."""

import datetime
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.policy.errors import PolicyError
from app.core.policy.model import Settings, default_policy
from app.core.policy.reader import MAX_VALUES, parse_policy
from app.core.resources.durations import parse_duration
from app.core.resources.globs import covers_glob, matches
from tests.builders import IDENTITY, policy
from tests.depth import examples


def problems(document: object) -> list[str]:
    with pytest.raises(PolicyError) as raised:
        parse_policy(document)
    return raised.value.lines


def virtual_service(**fields: Any) -> dict[str, Any]:
    return {**IDENTITY, "virtualService": fields}


def overrides(**fields: Any) -> dict[str, Any]:
    return virtual_service(overrides=fields)


def exemptions(**fields: Any) -> dict[str, Any]:
    return {**IDENTITY, "exemptions": fields}


def temporary(**fields: Any) -> dict[str, Any]:
    return exemptions(temporary=[fields])


def owners(**fields: Any) -> dict[str, Any]:
    return {**IDENTITY, "hosts": {"owners": [{"namespaces": ["a"], **fields}]}}


def retries(**fields: Any) -> dict[str, Any]:
    return virtual_service(retries=fields)


def keepalive(**fields: Any) -> dict[str, Any]:
    return {**IDENTITY, "destinationRule": {"connectionPool": {"tcp": {"tcpKeepalive": fields}}}}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2s", 2000),
        ("1m30s", 90_000),
        ("0.5s", 500),
        ("0.001s", 1),
        ("1h", 3_600_000),
        ("1.5h", 5_400_000),
        ("5ms", 5),
        ("1h2m3s4ms", 3_723_004),
        ("0h0m0s1ms", 1),
    ],
)
def test_durations_are_read_as_istio_reads_them(text: str, milliseconds: int) -> None:
    assert parse_duration(text).milliseconds == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "2 s",
        "-2s",
        "0s",
        "0h0m",
        "0.1ms",
        "1.5ms",
        "0.0001s",
        "2us",
        "1s" * 30,
        "1s1m",
        "9999999h",
        "٢s",
        "2s\n",
        2,
        None,
    ],
)
def test_an_invalid_duration_is_rejected(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration such as"):
        parse_duration(text)


def test_durations_are_compared_by_their_length_however_they_are_spelled() -> None:
    assert parse_duration("60s") == parse_duration("1m")
    assert parse_duration("1m") <= parse_duration("60s") <= parse_duration("1m")
    assert str(parse_duration("60s")) == "60s"


@pytest.mark.parametrize(
    ("text", "globs", "matched"),
    [
        ("team", ("*",), True),
        ("team", (), False),
        ("team", ("x", "te?m"), True),
        ("team", ("tea",), False),
        ("team", ("eam",), False),
        ("team", ("t[a-f]am",), True),
        ("team", ("t[!e]am",), False),
        ("Api.Example.com", ("api.*",), True),
        ("api.example.com", ("*.EXAMPLE.com",), True),
        ("apixexample.com", ("api.example.com",), False),
        ("*.example.com", ("*.example.com",), True),
        ("a\nb", ("a*b",), True),
        ("team\n", ("team",), False),
    ],
)
def test_a_glob_matches_a_whole_text_whatever_its_case(text: str, globs: tuple[str, ...], matched: bool) -> None:
    assert matches(text, globs) is matched


@pytest.mark.parametrize(
    "glob", ["*a" * 126 + "b", "*a*" * 84 + "b", "*?" * 126 + "b", "*[ab]" * 50 + "c", "*" + "a" * 200 + "b"]
)
def test_no_glob_makes_a_match_slow(glob: str) -> None:
    matches("x", (glob,))
    start = time.process_time()
    for _ in range(100):
        assert not matches("a" * 253, (glob,))
    assert (time.process_time() - start) / 100 < 0.01


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("*", "team-*", True),
        ("team-*", "TEAM-a", True),
        ("team-*", "team-?", True),
        ("team-*", "*", False),
        ("team-a", "team-*", False),
        ("Team", "team", True),
        ("t?am", "t*am", False),
        ("[ab]*", "[AB]*", True),
        ("*a*", "x[ab]y", False),
    ],
)
def test_a_glob_covers_another_only_where_it_matches_all_that_the_other_does(
    wide: str, narrow: str, covered: bool
) -> None:
    assert covers_glob(wide, narrow) is covered


globs = st.text("ab*?", min_size=1, max_size=5)


@given(globs, globs, st.text("abc", max_size=5))
@settings(max_examples=examples(500), deadline=None)
def test_a_glob_matches_the_texts_of_each_glob_that_it_covers(wide: str, narrow: str, text: str) -> None:
    if covers_glob(wide, narrow) and matches(text, (narrow,)):
        assert matches(text, (wide,))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("text", "the policy must be an object with apiVersion: serviceentry-guard.io/v1alpha1 and kind: GuardPolicy"),
        ({}, "apiVersion: must be serviceentry-guard.io/v1alpha1"),
        ({**IDENTITY, "kind": "Policy"}, "kind: must be GuardPolicy"),
        ({**IDENTITY, "mode": "x"}, "mode: input should be 'Enforce', 'Warn' or 'Off', not 'x'"),
        ({**IDENTITY, "mode": {}}, "mode: input should be 'Enforce', 'Warn' or 'Off', not an object"),
        (
            {**IDENTITY, "modes": "x"},
            (
                "modes: unknown key; allowed here: apiVersion, kind, metadata, mode, scope, resolution, exemptions, "
                "hosts, exportTo, virtualService, destinationRule, limits, existing, dns, namespaces"
            ),
        ),
        (
            {**IDENTITY, "scope": {"locations": ["EVERYWHERE"]}},
            "scope.locations[0]: input should be 'MESH_EXTERNAL' or 'MESH_INTERNAL', not 'EVERYWHERE'",
        ),
        ({**IDENTITY, "scope": {"locations": []}}, "scope.locations: must list at least 1"),
        (
            {**IDENTITY, "exemptions": {"hosts": [""]}},
            "exemptions.hosts[0]: string should have at least 1 character, not ''",
        ),
        (
            {**IDENTITY, "exemptions": {"namespaces": "a"}},
            "exemptions.namespaces: input should be a valid array, not 'a'",
        ),
        (exemptions(maxDuration="2160h"), "exemptions.maxDuration: must be a number of days such as 90d, not '2160h'"),
        (exemptions(maxDuration="0d"), "exemptions.maxDuration: must be a number of days such as 90d, not '0d'"),
        (exemptions(minReasonLength=0), "exemptions.minReasonLength: input should be greater than or equal"),
        (exemptions(reasonPattern="(?i)x"), "exemptions.reasonPattern: character 2 begins a group"),
        (exemptions(reasonPattern=""), "exemptions.reasonPattern: must be a pattern such as [A-Z]+-[0-9]+, not ''"),
        (temporary(until="2027-02-29"), "exemptions.temporary[0].until: must be a day such as 2027-03-31, not"),
        (temporary(until=20270331), "exemptions.temporary[0].until: must be a day such as 2027-03-31, not 20270331"),
        (temporary(), "exemptions.temporary[0].until: is required"),
        (temporary(until="2028-02-29", hosts=[]), "exemptions.temporary[0].hosts: must list at least 1"),
        (owners(match=["*.Example.com"]), "hosts.owners[0].match[0]: string should match pattern"),
        (owners(match=["a.*.com"]), "hosts.owners[0].match[0]: string should match pattern"),
        (owners(match=["a"], namespaces=[]), "hosts.owners[0].namespaces: must list at least 1"),
        ({**IDENTITY, "exportTo": {"require": "Deny"}}, "exportTo.require: input should be 'Namespace', "),
        (retries(attempts="3"), "virtualService.retries.attempts: input should be a valid integer, not '3'"),
        (retries(attempts=True), "virtualService.retries.attempts: input should be a valid integer, not True"),
        (retries(attempts=-1), "virtualService.retries.attempts: input should be greater than or equal to 0, not -1"),
        (retries(attempts=2**70), "virtualService.retries.attempts: input should be a valid integer"),
        (retries(retryOn=[]), "virtualService.retries.retryOn: must list at least 1"),
        (retries(retryOn=[503]), "virtualService.retries.retryOn[0]: input should be a valid string, not 503"),
        (retries(retryOn=["5xx, reset"]), "virtualService.retries.retryOn[0]: string should match pattern"),
        (retries(x=1), "virtualService.retries.x: unknown key; allowed here: attempts, perTryTimeout, retryOn, "),
        (retries(per_try_timeout="1s"), "virtualService.retries.per_try_timeout: unknown key; allowed here: attempts,"),
        (
            retries(backoff=1),
            'virtualService.retries.backoff: must be a duration such as "2s", "500ms" or "1m30s", not 1',
        ),
        (virtual_service(timeout="2 s"), "virtualService.timeout: must be a duration such as"),
        (overrides(attempts={"x": 1}), "virtualService.overrides.attempts.x: unknown key; allowed here: min, max"),
        (overrides(retryOn=[]), "virtualService.overrides.retryOn: must list at least 1"),
        (overrides(attempts={"min": 11}), "virtualService.overrides.attempts: min 11 is over max 10"),
        (
            overrides(perTryTimeout={"max": "1s", "min": "2s"}),
            "virtualService.overrides.perTryTimeout: min 2s is over max 1s",
        ),
        (
            keepalive(time="500ms"),
            (
                "destinationRule.connectionPool.tcp.tcpKeepalive.time: must be a duration of whole seconds "
                'such as "60s" or "1m30s", not \'500ms\''
            ),
        ),
        ({**IDENTITY, "namespaces": [{"mode": "Off"}]}, "namespaces[0].match: is required"),
        ({**IDENTITY, "namespaces": [{"match": []}]}, "namespaces[0].match: must list at least 1"),
        (
            {**IDENTITY, "namespaces": [{"match": ["a"], "kind": "GuardPolicy"}]},
            (
                "namespaces[0].kind: unknown key; allowed here: mode, scope, resolution, exemptions, hosts, exportTo, "
                "virtualService, destinationRule, limits, existing, match"
            ),
        ),
        ({**IDENTITY, "metadata": {"labels": {}}}, "metadata.labels: unknown key; allowed here: name"),
        (
            {**IDENTITY, "mode": datetime.date(2026, 1, 1)},
            "mode: input should be 'Enforce', 'Warn' or 'Off', not '2026",
        ),
        (dict[Any, Any](IDENTITY) | {True: 1}, "True: unknown key"),
        ({**IDENTITY, "mode\ud800": 1}, "mode?: unknown key"),
    ],
)
def test_an_invalid_policy_is_an_error_with_its_path_and_the_allowed_values(document: object, problem: str) -> None:
    (found,) = [line for line in problems(document) if line.startswith(problem)]
    assert "\n" not in found


def test_the_parser_reports_every_problem_at_once() -> None:
    found = problems({**IDENTITY, "mode": "x", "scope": {"y": 1}, "existing": 7})
    assert [line.partition(":")[0] for line in found] == ["mode", "scope.y", "existing"]


def test_a_document_that_holds_itself_is_refused() -> None:
    document: dict[str, Any] = {**IDENTITY}
    document["scope"] = document
    assert problems(document) == ["the policy has more than 100000 values, or is nested deeper than 32"]


def test_a_document_that_aliases_make_huge_is_refused() -> None:
    bomb: list[Any] = ["lol"]
    for _ in range(20):
        bomb = [bomb] * 20
    assert len(problems({**IDENTITY, "namespaces": bomb})) == 1
    assert len(problems({**IDENTITY, "namespaces": [1] * MAX_VALUES})) == 1


class TestNamespaces:
    """`namespaces`: the first entry that matches is laid over the rest."""

    BASE: Any = {  # noqa: RUF012 - never changed
        "mode": "Warn",
        "virtualService": {"retries": {"attempts": 5, "retryOn": ["5xx", "reset"]}},
    }

    def laid_over(self, *entries: dict[str, Any], namespace: str = "a-team") -> Settings:
        return policy(**self.BASE, namespaces=list(entries)).settings(namespace)

    def test_the_first_match_counts_and_no_other(self) -> None:
        entries = {"match": ["a-*"], "mode": "Enforce"}, {"match": ["*"], "mode": "Off", "existing": "Remediate"}
        assert self.laid_over(*entries).mode.value == "Enforce"
        assert self.laid_over(*entries).existing.value == "Siblings"
        assert self.laid_over(*entries, namespace="b-team").mode.value == "Off"

    def test_a_namespace_without_a_match_gets_the_settings_of_the_policy(self) -> None:
        assert self.laid_over({"match": ["b-*"], "mode": "Off"}).mode.value == "Warn"
        assert default_policy().settings("b-team").mode.value == "Enforce"

    def test_the_settings_of_a_namespace_are_merged_key_by_key(self) -> None:
        ours = self.laid_over({"match": ["*"], "virtualService": {"timeout": "5s", "retries": {"perTryTimeout": "1s"}}})
        found = ours.virtual_service
        assert (str(found.timeout), str(found.retries.per_try_timeout), found.retries.attempts) == ("5s", "1s", 5)

    def test_a_list_is_replaced_as_a_whole(self) -> None:
        ours = self.laid_over({"match": ["*"], "virtualService": {"retries": {"retryOn": ["503"]}}})
        assert ours.virtual_service.retries.retry_on == ("503",)

    def test_null_overrides_like_any_value(self) -> None:
        ours = self.laid_over({"match": ["*"], "virtualService": {"overrides": {"attempts": None}}})
        assert ours.virtual_service.overrides.attempts is None

    def test_bounds_are_checked_after_the_merge(self) -> None:
        base = {"overrides": {"attempts": {"max": 50}, "timeout": {"min": "10s"}}}
        wider = {"match": ["a"], "virtualService": {"overrides": {"attempts": {"min": 20}}}}
        assert policy(virtualService=base, namespaces=[wider]).namespaces
        narrower = {"match": ["b"], "virtualService": {"overrides": {"timeout": {"max": "5s"}}}}
        assert problems({**IDENTITY, "virtualService": base, "namespaces": [wider, narrower]}) == [
            "namespaces[1].virtualService.overrides.timeout: min 10s is over max 5s"
        ]

    def test_wrong_bounds_of_the_whole_policy_are_reported_once(self) -> None:
        document = {**overrides(attempts={"min": 11}), "namespaces": [{"match": ["a"]}]}
        assert problems(document) == ["virtualService.overrides.attempts: min 11 is over max 10"]
