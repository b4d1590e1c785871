"""What may be written in a policy and yet cannot be meant."""

from typing import Any

import pytest

from app.core.policy.model import default_policy
from app.core.policy.reader import parse_policy
from app.core.policy.traffic import RETRY_CONDITIONS
from app.core.rules.policy_lint import lint
from tests.builders import IDENTITY


def found(**fields: Any) -> list[str]:
    return [f"{finding.code} {finding.path}" for finding in lint(parse_policy({**IDENTITY, **fields}))]


def emitted(**fields: Any) -> dict[str, Any]:
    return {"virtualService": fields}


def test_the_recipe_is_sound() -> None:
    assert lint(default_policy()) == ()


@pytest.mark.parametrize(
    ("timeout", "attempts", "per_try", "sound"),
    [
        ("8s", 3, "2s", True),
        ("7.999s", 3, "2s", False),
        ("1m", 29, "2s", True),
        ("1m", 30, "2s", False),
        ("1s", 0, "2s", True),
        ("0s", 3, "2s", True),
    ],
)
def test_the_timeout_is_to_leave_time_for_the_first_try_and_every_attempt(
    timeout: str, attempts: int, per_try: str, sound: bool
) -> None:
    settings = emitted(timeout=timeout, retries={"attempts": attempts, "perTryTimeout": per_try})
    assert found(**settings) == ([] if sound else ["SEG030 virtualService.timeout"])


def test_the_message_names_the_numbers() -> None:
    (finding,) = lint(parse_policy({**IDENTITY, **emitted(timeout="5s")}))
    assert finding.message == "5s ends before the last of 4 tries of 2s each"


def test_the_timeout_of_a_namespace_is_checked_after_the_merge() -> None:
    entry = {"match": ["a"], **emitted(retries={"attempts": 20})}
    assert found(namespaces=[{"match": ["b"]}, entry]) == ["SEG030 namespaces[1].virtualService.timeout"]


def test_a_finding_that_holds_for_all_layers_is_reported_once() -> None:
    assert found(**emitted(timeout="5s"), namespaces=[{"match": ["a"], "mode": "Warn"}]) == [
        "SEG030 virtualService.timeout"
    ]


@pytest.mark.parametrize("word", [*RETRY_CONDITIONS, "503", "418", "100"])
def test_retry_on_accepts_each_condition_of_istio(word: str) -> None:
    assert found(**emitted(retries={"retryOn": [word]})) == []


@pytest.mark.parametrize("word", ["4xx", "connect-error", "600", "99", "299", "0503"])
def test_a_condition_that_istio_does_not_know_is_found(word: str) -> None:
    assert found(**emitted(retries={"retryOn": ["5xx", word]})) == ["SEG031 virtualService.retries.retryOn[1]"]


def test_unknown_conditions_are_found_in_every_place_that_takes_conditions() -> None:
    everywhere = emitted(
        retries={"retryOn": ["x"]},
        unsafeMethods={"retryOn": ["y"]},
        grpc={"retryOn": ["w"]},
        overrides={"retryOn": ["5xx", "z"]},
    )
    paths = ["retries.retryOn[0]", "unsafeMethods.retryOn[0]", "grpc.retryOn[0]", "overrides.retryOn[1]"]
    assert found(**everywhere) == [f"SEG031 virtualService.{path}" for path in paths]
    assert found(namespaces=[{"match": ["a"], **everywhere}]) == [
        f"SEG031 namespaces[0].virtualService.{path}" for path in paths
    ]


@pytest.mark.parametrize(
    ("matches", "unreachable"),
    [
        ([["*"], ["a"]], [1]),
        ([["a"], ["*"]], []),
        ([["team-*"], ["TEAM-a", "team-?"]], [1]),
        ([["team-*"], ["team-a", "other"]], []),
        ([["a"], ["b"], ["b", "a"]], [2]),
        ([["a"], ["a"], ["a"]], [1, 2]),
    ],
)
def test_an_entry_that_those_before_it_leave_nothing_to_is_found(
    matches: list[list[str]], unreachable: list[int]
) -> None:
    entries = [{"match": match, "mode": "Warn"} for match in matches]
    assert found(namespaces=entries) == [f"SEG032 namespaces[{index}].match" for index in unreachable]


@pytest.mark.parametrize(
    ("retries", "bounds", "sound"),
    [
        ({"attempts": 0}, None, True),
        ({"attempts": 0, "perTryTimeout": "1s"}, None, False),
        ({"attempts": 0, "perTryTimeout": "2s"}, None, False),
        ({"attempts": 0, "perTryTimeout": "1s"}, {"max": 0}, False),
        ({"attempts": 0, "perTryTimeout": "1s"}, {"max": 2}, True),
        ({"attempts": 1, "perTryTimeout": "1s"}, None, True),
        ({"perTryTimeout": "1s"}, None, True),
    ],
)
def test_retry_settings_have_no_effect_if_no_annotation_may_raise_attempts(
    retries: dict[str, Any], bounds: dict[str, int] | None, sound: bool
) -> None:
    assert found(**emitted(retries=retries, overrides={"attempts": bounds})) == (
        [] if sound else ["SEG033 virtualService.retries.attempts"]
    )


@pytest.mark.parametrize(
    ("rule", "sound"),
    [
        ({"enabled": True}, True),
        ({"enabled": True, "connectionPool": {"http": {"idleTimeout": None}}}, False),
        ({"enabled": False, "connectionPool": {"http": {"idleTimeout": None}}}, True),
        ({"enabled": True, "tlsOrigination": True, "connectionPool": {"http": {"idleTimeout": None}}}, True),
        ({"enabled": True, "connectionPool": {"http": {"idleTimeout": None}, "tcp": {"tcpKeepalive": {}}}}, True),
    ],
)
def test_a_destination_rule_with_nothing_in_it_is_found(rule: dict[str, Any], sound: bool) -> None:
    assert found(destinationRule=rule) == ([] if sound else ["SEG034 destinationRule.enabled"])


def exempting(**fields: Any) -> dict[str, Any]:
    return {"exemptions": fields}


def on(today: str, **fields: Any) -> list[str]:
    return [f"{one.code} {one.path}" for one in lint(parse_policy({**IDENTITY, **fields}).on(today))]


def test_exemptions_of_the_policy_without_an_end_are_found_where_it_requires_one() -> None:
    assert found(**exempting(hosts=["a"], namespaces=["b"])) == []
    assert found(**exempting(requireExpiry=True)) == []
    assert found(**exempting(hosts=["a"], namespaces=["b"], requireExpiry=True)) == [
        "SEG035 exemptions.hosts",
        "SEG035 exemptions.namespaces",
    ]
    layer = {"match": ["x"], **exempting(requireExpiry=True)}
    assert found(**exempting(hosts=["a"]), namespaces=[layer]) == ["SEG035 namespaces[0].exemptions.hosts"]


def test_exemptions_of_the_policy_that_ended_or_end_too_late_are_found() -> None:
    temporary = [{"until": "2027-03-31"}, {"until": "2027-06-30"}]
    assert on("2027-03-31", **exempting(temporary=temporary, maxDuration="91d")) == []
    assert on("2027-03-31", **exempting(temporary=temporary, maxDuration="90d")) == [
        "SEG036 exemptions.temporary[1].until"
    ]
    assert on("2027-04-01", **exempting(temporary=temporary)) == ["SEG037 exemptions.temporary[0].until"]
    assert found(**exempting(temporary=temporary, maxDuration="1d")) == [], "without a day nothing has ended"


def test_an_owner_that_an_earlier_one_hides_is_found() -> None:
    wide = {"match": ["*.example"], "namespaces": ["a"]}
    narrow = {"match": ["*.b.example", "c.example"], "namespaces": ["b"]}
    assert found(hosts={"owners": [narrow, wide]}) == []
    assert found(hosts={"owners": [wide, narrow]}) == ["SEG038 hosts.owners[1].match"]
    assert found(hosts={"owners": [{**wide, "match": ["*.b.example"]}, narrow]}) == []
