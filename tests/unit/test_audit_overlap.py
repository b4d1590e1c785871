"""Hosts that ServiceEntries of several namespaces share: offered to the whole mesh, or with different protocols."""

from typing import Any

import pytest

from app.core.policy.model import default_policy
from app.core.routes.survey import Sourced, survey
from tests import builders
from tests.builders import HTTP, manifest


def entry(namespace: str, name: str = "api", **spec: Any) -> Sourced:
    return Sourced(f"{namespace}.yaml", manifest(name, namespace, **spec))


def told(*entries: Sourced, code: str = "SEG026", **policy: Any) -> list[list[str]]:
    rules = builders.policy(**policy)
    return [[finding.message for finding in one.shared if finding.code == code] for one in survey(entries, rules)]


def test_two_namespaces_that_export_one_host_to_the_mesh_both_get_a_finding() -> None:
    found = told(entry("one", hosts=["API.example.com"]), entry("two", exportTo=["*"]))
    assert found == [
        ['ServiceEntry two/api also exports "API.example.com" to the whole mesh'],
        ['ServiceEntry one/api also exports "api.example.com" to the whole mesh'],
    ]


def test_only_the_first_of_many_others_is_named() -> None:
    found = told(entry("one"), entry("three"), entry("two"), entry("two", "again"))
    assert found[0] == ['ServiceEntry three/api also exports "api.example.com" to the whole mesh (and 2 more)']


def test_entries_of_one_namespace_are_another_rules_business() -> None:
    assert told(entry("one"), entry("one", "again")) == [[], []]


@pytest.mark.parametrize("export_to", [["."], ["two"], ["~"]])
def test_an_entry_that_is_not_for_everyone_overlaps_with_none(export_to: list[str]) -> None:
    assert told(entry("one", exportTo=export_to), entry("two")) == [[], []]


def test_an_entry_with_a_narrow_export_to_has_no_finding_about_overlapping_exports() -> None:
    assert told(entry("one"), entry("two"), entry("three", exportTo=["."]))[2] == []


def test_an_entry_out_of_scope_has_no_finding_but_counts_for_others() -> None:
    found = told(entry("one", location="MESH_INTERNAL"), entry("two"))
    assert found == [[], ['ServiceEntry one/api also exports "api.example.com" to the whole mesh']]


def test_mode_off_has_no_finding_about_overlapping_exports() -> None:
    assert told(entry("one"), entry("two"), mode="Off") == [[], []]


def port(number: int, protocol: str) -> dict[str, Any]:
    return {"number": number, "name": f"p-{number}", "protocol": protocol}


def differing(*entries: Sourced, **policy: Any) -> list[list[str]]:
    return told(*entries, code="SEG045", **policy)


def test_different_protocols_on_one_port_of_a_host_are_a_finding_on_both_entries() -> None:
    found = differing(entry("one"), entry("two", hosts=["API.example.com."], ports=[port(80, "tcp")]))
    one, two = "port 80 (HTTP)", "port 80 (TCP)"
    both = "a proxy that sees both uses one of them"
    assert found == [
        [f'ServiceEntry two/api declares {two} of "api.example.com"; {both}'],
        [f'ServiceEntry one/api declares {one} of "API.example.com."; {both}'],
    ]


@pytest.mark.parametrize(
    ("mine", "theirs", "differ"),
    [
        ([port(80, "HTTP")], [port(80, "http")], False),
        ([port(443, "HTTPS")], [port(443, "TLS")], False),
        ([port(80, "HTTP")], [port(81, "TCP")], False),
        ([port(80, "HTTP")], [port(80, "GRPC")], True),
        ([port(80, "")], [port(80, "HTTP")], True),
        ([port(80, "HTTP"), port(443, "TLS")], [port(443, "TCP")], True),
    ],
)
def test_ports_are_compared_by_number_and_by_what_istio_takes_a_protocol_for(
    mine: list[Any], theirs: list[Any], differ: bool
) -> None:
    assert [bool(found) for found in differing(entry("one", ports=mine), entry("two", ports=theirs))] == [differ] * 2


@pytest.mark.parametrize(
    ("mine", "theirs", "differ"),
    [
        (["."], ["."], False),
        (["."], ["*"], True),
        (["two"], ["."], True),
        (["three"], ["three", "."], True),
        (["three"], ["four"], False),
        (["~"], ["*"], False),
        (["~"], ["~"], False),
    ],
)
def test_different_protocols_are_a_finding_only_if_a_namespace_sees_both_entries(
    mine: list[str], theirs: list[str], differ: bool
) -> None:
    other = entry("two", ports=[port(80, "TCP")], exportTo=theirs)
    assert [bool(found) for found in differing(entry("one", exportTo=mine), other)] == [differ] * 2


def test_the_protocols_of_entries_of_one_namespace_are_another_rules_business() -> None:
    assert differing(entry("one"), entry("one", "again", ports=[port(80, "TCP")])) == [[], []]


def test_several_ports_are_one_finding_with_the_path_of_the_first_and_their_number() -> None:
    ports = [port(80, "TCP"), port(443, "TCP")]
    documents = [entry("one", ports=[HTTP, port(443, "TLS")]), entry("two", ports=ports)]
    (finding,) = [one for one in survey(documents, default_policy())[0].shared if one.code == "SEG045"]
    assert (finding.path, finding.message.endswith("(and 1 more)")) == ("spec.ports[0].protocol", True)


def test_of_many_entries_only_some_are_kept_for_a_port_and_each_still_sees_another() -> None:
    http = [entry(f"http-{number}") for number in range(10)]
    tcp = [entry(f"tcp-{number}", ports=[port(80, "TCP")]) for number in range(10)]
    found = differing(*http, *tcp)
    assert all("ServiceEntry tcp-0/api" in told[0] for told in found[:10])
    assert all("ServiceEntry http-0/api" in told[0] for told in found[10:])


def test_an_entry_out_of_scope_has_no_finding_about_different_protocols() -> None:
    assert differing(entry("one", location="MESH_INTERNAL"), entry("two", ports=[port(80, "TCP")]))[0] == []
