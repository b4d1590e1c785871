"""How entries stand, and what a report makes of it."""

import json
from typing import Any

import pytest

from app.core.policy_report import LEFT_OUT, Result, contested, digest, report, results, since
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.rules.catalogue import CATALOGUE
from tests.builders import HTTP, HTTPS, entry, indexed, policy

TEAM = Key("team", "serviceentry-guard")


def outcomes(one: ServiceEntry, **document: Any) -> list[tuple[str, str]]:
    return [(result.outcome, result.rule) for result in results(one, policy(**document))]


def document(*entries: ServiceEntry, known: dict[int, int] | None = None, now: int = 1, room: int = 10**6) -> Any:
    found = [result for one in entries for result in results(one, policy())]
    return report(TEAM, found, known or {}, now, room)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (entry(), [("pass", "Compliant")]),
        (entry(ports=[HTTP, HTTPS]), [("skip", "SEG020-RetriesNotApplicable"), ("pass", "Compliant")]),
        (entry(resolution="NONE"), [("warn", "SEG003-ResolutionChanged")]),
        (entry(resolution="NONE", addresses=["198.51.100.0/24"]), [("fail", "SEG006-CidrAddress")]),
        (entry(annotations={"exempt": "it moves soon"}), [("skip", "SEG002-Exempted")]),
        (entry(location="MESH_INTERNAL"), [("skip", "SEG046-MeshInternal")]),
        (entry(location="MESH_INTERNAL", workloadSelector={"labels": {"app": "vm"}}), []),
    ],
)
def test_an_entry_stands_as_the_worst_that_is_said_of_it(one: ServiceEntry, expected: list[tuple[str, str]]) -> None:
    assert outcomes(one, exemptions={"annotation": "Allow"}) == expected


def test_an_entry_that_enforce_would_reject_is_a_warning_under_warn() -> None:
    network = entry(resolution="NONE", addresses=["198.51.100.0/24"])
    assert outcomes(network, mode="Warn") == [("warn", "SEG006-CidrAddress")]


def test_an_entry_that_shares_or_yields_a_host_does_not_pass() -> None:
    young, old = entry("young"), entry("an-older-one")
    spec = {"hosts": ["api.example.com"], "http": [{"route": []}]}
    theirs = Observed.parse(
        {"kind": "VirtualService", "metadata": {"name": "theirs", "namespace": "team"}, "spec": spec}
    )
    place = Key("team", "api.example.com")
    (found,) = contested(place, indexed([young, old]).neighbours(place)).items()
    assert (found[0], [one.code for one in found[1]]) == (young.key, ["SEG022"])
    both = contested(place, indexed([young, old], [theirs]).neighbours(place))
    assert {key.name: [one.code for one in findings] for key, findings in both.items()} == {
        "young": ["SEG022"],
        "an-older-one": ["SEG021"],
    }
    (result,) = results(old, policy(), both[old.key])
    assert (result.outcome, result.rule) == ("warn", "SEG021-HostConflict")


def test_a_report_names_the_entry_the_place_and_the_remedy() -> None:
    written = document(entry(resolution="NONE", addresses=["198.51.100.0/24"]))
    assert written["metadata"] == {
        "namespace": "team",
        "name": "serviceentry-guard",
        "labels": {"app.kubernetes.io/managed-by": "serviceentry-guard"},
        "annotations": {},
    }
    reference = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "namespace": "team", "name": "api"}
    assert written["results"] == [
        {
            "source": "serviceentry-guard",
            "policy": "serviceentry-guard",
            "category": "Istio",
            "rule": "SEG006-CidrAddress",
            "result": "fail",
            "severity": "high",
            "message": 'spec.addresses[0]: "198.51.100.0/24" is a CIDR, which Istio rejects with resolution DNS',
            "resources": [{**reference, "uid": "team-api"}],
            "properties": {"remedy": CATALOGUE["SEG006"].remedy},
            "timestamp": {"seconds": 1, "nanos": 0},
        }
    ]
    assert written["summary"] == {"error": 0, "fail": 1, "warn": 0, "skip": 0, "pass": 0}


def test_where_there_is_nothing_to_say_there_is_no_report() -> None:
    assert document(entry(location="MESH_INTERNAL", hosts=["reviews.default.svc"])) is None


def test_a_report_does_not_depend_on_the_order_of_entries() -> None:
    entries = [entry(name, resolution=resolution) for name in "ab" for resolution in ("NONE", "DNS")]
    assert document(*entries) == document(*reversed(entries))


def test_a_result_keeps_its_time_for_as_long_as_it_is_so() -> None:
    first = document(entry("old"), now=1)
    second = document(entry("old"), entry("new"), known=since(first), now=2)
    assert [one["timestamp"]["seconds"] for one in second["results"]] == [2, 1]
    assert digest(document(entry("old"), known=since(second), now=3)) == digest(first)
    changed = document(entry("old", resolution="NONE"), known=since(second), now=4)
    assert [one["timestamp"]["seconds"] for one in changed["results"]] == [4]


def test_a_full_report_keeps_the_worst_results_and_counts_the_omitted() -> None:
    whole = document(entry("fine"), entry("network", resolution="NONE", addresses=["198.51.100.0/24"]), entry("well"))
    room = len(json.dumps(whole["results"][0])) + 1
    cut = document(
        entry("fine"), entry("network", resolution="NONE", addresses=["198.51.100.0/24"]), entry("well"), room=room
    )
    assert [one["result"] for one in cut["results"]] == ["fail"]
    assert cut["summary"] == whole["summary"] == {"error": 0, "fail": 1, "warn": 0, "skip": 0, "pass": 2}
    assert cut["metadata"]["annotations"] == {LEFT_OUT: "2"}
    assert digest(cut) != digest({**cut, "metadata": {}})


def test_a_result_without_a_remedy_has_none() -> None:
    written: Any = report(TEAM, [Result(entry(), "pass", "Compliant", "info", "fine")], {}, 1)
    assert "properties" not in written["results"][0]


@pytest.mark.parametrize("mangled", [{}, {"results": 1}, {"results": [1, {"timestamp": "yesterday"}]}, None])
def test_a_mangled_report_can_be_read_and_has_another_digest(mangled: Any) -> None:
    assert isinstance(since(mangled), dict)
    assert digest(mangled) != digest(document(entry()))
