"""Ways around the rules that one entry, or the set of all, shows: each is told, and nothing is judged otherwise."""

from typing import Any

import pytest

from app.core.routes.observed import Observed
from app.core.routes.plan import desired
from app.core.rules.verdict import review
from tests.builders import entry, guard_policy, route, virtual_service

INTERNAL: dict[str, Any] = {"location": "MESH_INTERNAL"}


def found(code: str, **given: Any) -> list[tuple[str, str]]:
    """Severity and path of what is told under a code of an entry under the recipe."""
    findings = review(entry(**given), guard_policy()).findings
    return [(one.severity.value, one.path) for one in findings if one.code == code]


class TestMeshInternal:
    """`location: MESH_INTERNAL` with an external host."""

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"resolution": "NONE"}, [("warning", "spec.hosts[0]")]),
            ({"resolution": "STATIC"}, [("warning", "spec.hosts[0]")]),
            ({"resolution": "DNS"}, [("info", "spec.hosts[0]")]),
            ({"resolution": "STATIC", "endpoints": [{"address": "10.0.0.1"}]}, [("info", "spec.hosts[0]")]),
            ({"resolution": "NONE", "workloadSelector": {"labels": {"app": "vm"}}}, []),
            ({"resolution": "NONE", "hosts": ["a.b.svc.cluster.local", "a.b.svc", "reviews.default"]}, []),
            ({"resolution": "NONE", "hosts": ["a.b.svc", "api.example.com"]}, [("warning", "spec.hosts[1]")]),
        ],
    )
    def test_an_entry_out_of_scope_by_its_location_alone_has_a_finding(
        self, spec: dict[str, Any], expected: list[tuple[str, str]]
    ) -> None:
        assert found("SEG046", **INTERNAL, **spec) == expected

    def test_an_external_host_with_location_mesh_internal_has_only_a_finding(self) -> None:
        verdict = review(entry(**INTERNAL, resolution="NONE", addresses=["10.0.0.0/8"]), guard_policy())
        assert (verdict.codes, verdict.allowed, verdict.patch) == (("SEG046",), True, ())

    def test_an_external_entry_out_of_scope_has_no_finding(self) -> None:
        policy = guard_policy(scope={"locations": ["MESH_INTERNAL"]})
        assert review(entry(resolution="NONE"), policy).codes == ()

    def test_where_the_location_is_in_scope_the_entry_is_judged(self) -> None:
        policy = guard_policy(scope={"locations": ["MESH_INTERNAL", "MESH_EXTERNAL"]})
        assert review(entry(**INTERNAL, resolution="NONE"), policy).codes == ("SEG003",)


class TestShortNames:
    """A host that is spelled as Pods spell a Service."""

    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("reviews.default", [("warning", "spec.hosts[0]")]),
            ("Reviews.Kube-System.", [("warning", "spec.hosts[0]")]),
            ("*.default", [("warning", "spec.hosts[0]")]),
            ("reviews.team", [("info", "spec.hosts[0]")]),
            ("reviews.other", []),
            ("a.reviews.default", []),
            ("default", []),
            (".default", []),
        ],
    )
    def test_a_host_that_looks_like_a_short_service_name_has_a_finding(
        self, host: str, expected: list[tuple[str, str]]
    ) -> None:
        assert found("SEG048", hosts=[host]) == expected

    def test_it_can_have_an_owner(self) -> None:
        policy = guard_policy(hosts={"owners": [{"match": ["*.default"], "namespaces": ["default"]}]})
        assert [one.code for one in review(entry(hosts=["reviews.default"]), policy).errors] == ["SEG043"]

    def test_a_short_name_inside_the_mesh_has_a_finding_too(self) -> None:
        assert review(entry(**INTERNAL, hosts=["reviews.default"]), guard_policy()).codes == ("SEG048",)


class TestStatic:
    """STATIC with an arbitrary endpoint."""

    @pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.1", "backend.example.com", ""])
    def test_a_static_endpoint_has_a_finding_and_can_be_forbidden(self, address: str) -> None:
        given: dict[str, Any] = {"resolution": "STATIC", "endpoints": [{"address": address}]}
        assert found("SEG011", **given) == [("warning", "spec.resolution")]
        forbidding = guard_policy(resolution={"static": "Deny"})
        assert [one.code for one in review(entry(**given), forbidding).errors] == ["SEG011"]

    @pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1"])
    def test_a_loopback_or_link_local_endpoint_is_a_note_with_the_address(self, address: str) -> None:
        given: dict[str, Any] = {"resolution": "STATIC", "endpoints": [{"address": address}]}
        assert found("SEG011", **given) == [("info", "spec.endpoints")]
        message = review(entry(**given), guard_policy()).findings[0].message
        assert message.startswith(f'"{address}" is a loopback or link-local address')


class TestNeighboursWildcard:
    """A claim of another namespace on every host."""

    def test_a_neighbours_wildcard_is_named_and_the_policy_can_leave_its_namespace_out(self) -> None:
        theirs = Observed.parse(
            virtual_service("all", "tenant", hosts=["*.com"], http=[route("elsewhere.example.com")])
        )
        planned = desired([entry()], guard_policy(), [theirs])
        assert planned.objects == ()
        (conflict,) = planned.conflicts
        assert conflict.finding.code == "SEG021"
        assert conflict.finding.message.startswith("VirtualService tenant/all already routes ")
        policy = guard_policy(virtualService={"yieldTo": ["platform-*"]})
        assert [one.host for one in desired([entry()], policy, [theirs]).objects] == ["api.example.com"]

    def test_the_remedy_says_how(self) -> None:
        theirs = Observed.parse(virtual_service("all", "tenant", hosts=["*.com"], http=[route("api.example.com")]))
        (conflict,) = desired([entry()], guard_policy(), [theirs]).conflicts
        assert "virtualService.yieldTo" in conflict.finding.rule.remedy


class TestExportTo:
    """Who sees an entry."""

    @pytest.mark.parametrize(
        ("export_to", "public"),
        [
            (None, True),
            ([], True),
            (["*"], True),
            ([".", "*"], True),
            (["."], False),
            (["a", "."], False),
            (["~"], False),
        ],
    )
    def test_an_entry_that_every_namespace_sees_has_a_finding(self, export_to: list[str] | None, public: bool) -> None:
        given = entry(exportTo=export_to)
        for require, severity in (("Namespace", "error"), ("Warn", "warning")):
            findings = review(given, guard_policy(exportTo={"require": require})).findings
            told = [one.severity.value for one in findings if one.code == "SEG044"]
            assert told == ([severity] if public else [])
        assert "SEG044" not in review(given, guard_policy()).codes

    def test_export_to_is_never_changed(self) -> None:
        verdict = review(entry(resolution="NONE"), guard_policy(exportTo={"require": "Warn"}))
        assert [operation["path"] for operation in verdict.patch] == ["/spec/resolution"]
