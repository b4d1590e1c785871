"""Who sees what is emitted for a host that several namespaces declare: no namespace that did not agree to it."""

from typing import Any

import pytest

from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.findings import Finding, Severity
from tests.builders import HOST, HTTP, entry, guard_policy, virtual_service
from tests.unit.reached import EVERYONE, EXEMPT, OLD, YOUNG, confined, http_route, plan, reach, told


class TestNamedNamespaces:
    """An entry whose exportTo names namespaces: each of them agrees for itself."""

    ONE = entry(created=YOUNG, exportTo=[".", "payments", "reports"])

    def without_reports(self, *entries: ServiceEntry, reason: str, **document: Any) -> None:
        """What is emitted for ONE is seen in payments, but not in reports, for a reason."""
        planned = plan(self.ONE, *entries, policy=guard_policy(**document))
        assert reach(planned)[f"team/{HOST}"] == [".", "payments"]
        assert told(planned, self.ONE) == confined(f"namespace reports {reason}, so it does not see the object")

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            ({"namespaces": [{"match": ["reports"], "mode": "Warn"}]}, "mode: Warn"),
            ({"namespaces": [{"match": ["reports"], "mode": "Off"}]}, "mode: Off"),
            ({"scope": {"excludedNamespaces": ["reports"]}}, "scope.excludedNamespaces"),
            ({"exemptions": {"namespaces": ["report*"]}}, "exemptions.namespaces"),
            ({"namespaces": [{"match": ["reports"], "exemptions": {"hosts": [HOST]}}]}, "exemptions.hosts"),
            ({"namespaces": [{"match": ["reports"], "virtualService": {"timeout": "1s"}}]}, "other settings"),
        ],
    )
    def test_a_namespace_for_which_the_policy_says_otherwise_does_not_agree(
        self, document: dict[str, Any], reason: str
    ) -> None:
        self.without_reports(reason=f"does not agree ({reason})", **document)

    @pytest.mark.parametrize(
        "same",
        [
            {"resolution": {"static": "Deny"}},
            {"virtualService": {"overrides": {"timeout": None}, "reach": "Namespace", "yieldTo": []}},
            {"existing": "Remediate"},
            {"destinationRule": {"enabled": True}},
        ],
    )
    def test_settings_without_effect_on_routes_are_not_a_reason(self, same: dict[str, Any]) -> None:
        policy = guard_policy(namespaces=[{"match": ["reports"], **same}])
        assert reach(plan(self.ONE, policy=policy))[f"team/{HOST}"] == [".", "payments", "reports"]

    @pytest.mark.parametrize(
        "spec",
        [{}, {"exportTo": ["."]}, EXEMPT, {"hosts": ["*.example.com"]}, {"ports": []}],
        ids=["public", "private", "exempt", "wildcard", "no port"],
    )
    def test_a_namespace_with_an_entry_of_its_own_decides_for_itself(self, spec: dict[str, Any]) -> None:
        own = entry("own", "reports", "2026-03-01T00:00:00Z", **{"exportTo": ["."], **spec})
        self.without_reports(own, reason="has an entry of its own for the host")

    def test_of_two_that_export_to_a_namespace_the_older_is_seen_there(self) -> None:
        older = entry("older", "other", OLD, exportTo=[".", "reports"])
        self.without_reports(older, reason="sees an older entry for the host")
        assert reach(plan(self.ONE, older))[f"other/{HOST}"] == [".", "reports"]

    def test_of_two_that_export_to_a_namespace_the_younger_is_not_in_the_way(self) -> None:
        younger = entry("younger", "other", "2026-03-01T00:00:00Z", exportTo=[".", "reports"])
        planned = plan(self.ONE, younger)
        assert reach(planned) == {f"team/{HOST}": [".", "payments", "reports"], f"other/{HOST}": ["."]}
        assert told(planned, younger) == confined(
            "namespace reports sees an older entry for the host, so it does not see the object"
        )

    def test_of_two_of_one_age_that_export_to_a_namespace_the_name_decides(self) -> None:
        first = entry("first", "other", self.ONE.created, exportTo=[".", "reports"])
        self.without_reports(first, reason="sees an entry for the host that is first by name")

    def test_an_entry_that_was_never_stored_is_younger_than_one_that_was(self) -> None:
        fresh = entry("a", "other", exportTo=[".", "reports"])
        assert reach(plan(self.ONE, fresh))[f"other/{HOST}"] == ["."]

    def test_a_route_of_others_that_a_namespace_sees_keeps_ours_out_of_it(self) -> None:
        claim = virtual_service("egress", "platform", exportTo=["reports"])
        planned = plan(self.ONE, beside=(claim,))
        assert reach(planned) == {f"team/{HOST}": [".", "payments"]}
        assert told(planned, self.ONE) == confined(
            "namespace reports sees VirtualService platform/egress, which routes the host, so it does not see the "
            "object"
        )

    def test_a_public_entry_of_another_namespace_confines_it(self) -> None:
        public = entry("public", "other", OLD)
        planned = plan(self.ONE, public)
        assert reach(planned) == {f"team/{HOST}": ["."], f"other/{HOST}": EVERYONE}

    def test_an_entry_exported_to_exempt_namespaces_only_gets_a_finding_and_no_virtual_service(self) -> None:
        one = entry(exportTo=["payments"])
        planned = plan(one, policy=guard_policy(exemptions={"namespaces": ["payments"]}))
        assert planned.objects == ()
        assert len(told(planned, one)) == 1


class TestPublicEntries:
    """An entry that every namespace sees: all must agree."""

    def test_one_namespace_decides_for_all_that_have_no_entry_and_every_other_for_itself(self) -> None:
        entries = [
            entry("z", "first", OLD),
            entry("a", "second", YOUNG),
            entry("b", "third", YOUNG, exportTo=[".", "first"]),
        ]
        planned = plan(*entries)
        assert reach(planned) == {f"first/{HOST}": EVERYONE, f"second/{HOST}": ["."], f"third/{HOST}": ["."]}
        reason = "ServiceEntry first/z is the oldest public one for the host"
        assert told(planned, entries[1]) == confined(f"only namespace second sees it: {reason}")
        assert told(planned, entries[2]) == confined(f"only namespace third sees it: {reason}")
        assert told(planned, entries[0]) == []

    @pytest.mark.parametrize("created", [OLD, ""], ids=["stored", "never stored"])
    def test_of_two_of_one_age_the_name_of_the_namespace_decides_and_none_is_said_to_be_older(
        self, created: str
    ) -> None:
        first, second = entry("z", "a", created), entry("a", "b", created)
        planned = plan(first, second)
        assert reach(planned) == {f"a/{HOST}": EVERYONE, f"b/{HOST}": ["."]}
        reason = "ServiceEntry a/z is the first public one for the host by name"
        assert told(planned, second) == confined(f"only namespace b sees it: {reason}")

    def test_a_public_entry_on_which_nothing_is_emitted_is_not_the_one_that_decides(self) -> None:
        older, younger = entry("z", "first", OLD, **EXEMPT), entry("a", "second", YOUNG)
        planned = plan(older, younger)
        assert reach(planned) == {f"second/{HOST}": ["."]}
        assert told(planned, younger) == confined(
            "only namespace second sees it: ServiceEntry first/z is also for the host, and nothing is emitted for "
            'it: exempt: "the vendor pins its addresses"'
        )

    @pytest.mark.parametrize(
        ("spec", "policy", "reason"),
        [
            (EXEMPT, {}, 'exempt: "the vendor pins its addresses"'),
            ({}, {"namespaces": [{"match": ["other"], "mode": "Warn"}]}, "mode is Warn"),
            ({}, {"namespaces": [{"match": ["other"], "mode": "Off"}]}, "mode is Off"),
            ({"location": "MESH_INTERNAL"}, {}, "it is not in the policy's scope"),
            ({"resolution": "NONE"}, {}, "resolution is NONE"),
            ({"terminating": True}, {}, "it is being deleted"),
            ({"ports": []}, {}, "it has no HTTP port"),
            ({"annotations": {"virtual-service": "Disabled"}}, {}, "its VirtualService is disabled"),
        ],
    )
    def test_an_entry_for_the_host_on_which_nothing_is_emitted_confines_it_and_is_named_with_the_reason(
        self, spec: dict[str, Any], policy: dict[str, Any], reason: str
    ) -> None:
        one = entry(created=OLD)
        planned = plan(one, entry("silent", "other", YOUNG, **spec), policy=guard_policy(**policy))
        assert reach(planned) == {f"team/{HOST}": ["."]}
        assert told(planned, one) == confined(
            f"only namespace team sees it: ServiceEntry other/silent is also for the host, and nothing is emitted for "
            f"it: {reason}"
        )

    @pytest.mark.parametrize("export_to", [[], ["."], ["third"]])
    def test_where_another_namespace_has_an_entry_without_port_80_no_route_of_port_80_reaches_it(
        self, export_to: list[str]
    ) -> None:
        one = entry(created=OLD)
        admin = [{"number": 8080, "name": "http-admin", "protocol": "HTTP"}]
        planned = plan(one, entry("admin", "other", YOUNG, ports=admin, exportTo=export_to))
        assert reach(planned)[f"team/{HOST}"] == ["."]
        assert told(planned, one) == confined(
            "only namespace team sees it: namespace other has an entry of its own for the host, without port 80"
        )

    def test_where_other_namespaces_have_port_80_too_or_ours_has_none_it_stays_public(self) -> None:
        admin = [{"number": 8080, "name": "http-admin", "protocol": "HTTP"}]
        both = entry("both", "other", YOUNG, ports=[HTTP, *admin]), entry("b", "other", YOUNG, ports=admin)
        assert reach(plan(entry(created=OLD), *both))[f"team/{HOST}"] == EVERYONE
        assert reach(plan(entry(created=OLD, ports=admin), both[1]))[f"team/{HOST}"] == EVERYONE

    def test_the_finding_about_an_entry_with_export_to_none_does_not_mention_dns(self) -> None:
        one = entry(created=OLD)
        planned = plan(one, entry("hidden", "other", YOUNG, exportTo=["~"]))
        assert all("resolution is DNS" not in message for message in told(planned, one))

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            ({"mode": "Warn", "namespaces": [{"match": ["team"], "mode": "Enforce"}]}, "mode: Warn"),
            ({"namespaces": [{"match": ["x"], "mode": "Off"}]}, "namespaces[0].mode: Off"),
            ({"scope": {"excludedNamespaces": ["x"]}}, "scope.excludedNamespaces"),
            ({"namespaces": [{"match": ["x"], "exemptions": {"namespaces": ["x"]}}]},
             "namespaces[0].exemptions.namespaces"),
            ({"namespaces": [{"match": ["x"], "exemptions": {"hosts": ["*.com"]}}]}, "namespaces[0].exemptions.hosts"),
            ({"namespaces": [{"match": ["x"], "virtualService": {"timeout": "1s"}}]}, "namespaces[0]"),
        ],
    )  # fmt: skip
    def test_a_policy_that_does_not_emit_the_same_everywhere_confines_it(
        self, document: dict[str, Any], reason: str
    ) -> None:
        one = entry()
        planned = plan(one, policy=guard_policy(**document))
        assert reach(planned) == {f"team/{HOST}": ["."]}
        (message,) = told(planned, one)
        said = "only namespace team sees it: the policy does not have the same settings everywhere"
        assert message.startswith(f'objects for "{HOST}" are visible in fewer namespaces: {said} (')
        assert reason in message

    @pytest.mark.parametrize(
        ("claim", "expected"),
        [
            (virtual_service(namespace="other", exportTo=["."]), ["."]),
            (virtual_service(namespace="other", exportTo=["reports"]), ["."]),
            (virtual_service(namespace="team", exportTo=["reports"]), ["."]),
            (virtual_service(namespace="other", exportTo=["."], hosts=["*.example.com"]), ["."]),
            (virtual_service(namespace="other", exportTo=["."], hosts=["*"]), EVERYONE),
            (virtual_service(namespace="other", exportTo=["."], hosts=["b.example.com"]), EVERYONE),
            (virtual_service(namespace="other", exportTo=["."], gateways=["edge"]), EVERYONE),
            (virtual_service(namespace="other", exportTo=["."], http=[]), EVERYONE),
        ],
    )
    def test_a_route_of_others_that_another_namespace_sees_confines_it(
        self, claim: dict[str, Any], expected: list[str]
    ) -> None:
        assert reach(plan(entry(), beside=(claim,))) == {f"team/{HOST}": expected}

    def test_an_http_route_of_another_namespace_confines_it_and_takes_nothing_from_its_own(self) -> None:
        planned = plan(entry(), beside=(http_route("other"),))
        assert (reach(planned), planned.conflicts) == ({f"team/{HOST}": ["."]}, ())
        assert plan(entry(), beside=(http_route("team"),)).conflicts

    def test_an_http_route_of_a_named_namespace_keeps_ours_out_of_it_and_of_no_other(self) -> None:
        one = entry(exportTo=[".", "other", "payments"])
        planned = plan(one, beside=(http_route("other"),))
        assert reach(planned) == {f"team/{HOST}": [".", "payments"]}
        assert "sees HTTPRoute other/route, which routes the host" in told(planned, one)[0]

    def test_yield_to_selects_namespaces_with_wildcard_claims_and_exact_claims_always_count(self) -> None:
        policy = guard_policy(virtualService={"yieldTo": ["platform-*"]})
        for namespace, hosts, expected in (
            ("other", ["*.com"], EVERYONE),
            ("platform-egress", ["*.com"], ["."]),
            ("other", [HOST], ["."]),
        ):
            claim = virtual_service(namespace=namespace, exportTo=["."], hosts=hosts)
            assert reach(plan(entry(), policy=policy, beside=(claim,))) == {f"team/{HOST}": expected}

    def test_a_wildcard_claim_of_another_namespace_outside_of_yield_to_is_not_a_conflict(self) -> None:
        policy = guard_policy(virtualService={"yieldTo": ["platform"]})
        greedy = virtual_service("greedy", "other", hosts=["*.com"])
        planned = plan(entry(), policy=policy, beside=(greedy,))
        assert (reach(planned), planned.conflicts) == ({f"team/{HOST}": EVERYONE}, ())
        own = virtual_service("own", "team", hosts=["*.com"])
        assert plan(entry(), policy=policy, beside=(own,)).conflicts


class TestWildcards:
    """A wildcard's routes also take the hosts beneath it that have none of their own."""

    WILD = entry("wild", hosts=["*.example.com"], resolution="DYNAMIC_DNS", ports=[HTTP])
    NAME = "wildcard.example.com"

    def test_alone_it_is_seen_by_all(self) -> None:
        assert reach(plan(self.WILD)) == {f"team/{self.NAME}": EVERYONE}

    def test_beside_an_entry_of_its_namespace_that_has_routes_of_its_own_it_is_emitted(self) -> None:
        planned = plan(self.WILD, entry())
        assert set(reach(planned)) == {f"team/{self.NAME}", f"team/{HOST}"}

    @pytest.mark.parametrize(
        "spec",
        [EXEMPT, {"resolution": "NONE"}, {"annotations": {"virtual-service": "Disabled"}}, {"ports": []}],
        ids=["exempt", "none", "disabled", "no port"],
    )
    def test_beside_an_entry_of_its_namespace_without_routes_it_is_not_emitted_and_says_so(
        self, spec: dict[str, Any]
    ) -> None:
        planned = plan(self.WILD, entry("captured", **spec))
        assert planned.objects == ()
        (finding,) = planned.findings[self.WILD.key]
        assert finding == Finding(
            finding.rule,
            Severity.INFO,
            "spec.hosts",
            'nothing is emitted for "*.example.com": it would also route the hosts of ServiceEntry team/captured',
            ("ServiceEntry", Key("team", "captured")),
        )
        assert finding.code == "SEG041"

    @pytest.mark.parametrize(
        ("export_to", "emitted"), [([], False), (["*"], False), (["team"], False), (["."], True), (["payments"], True)]
    )
    def test_beside_an_entry_of_another_namespace_it_is_not_emitted_where_its_sidecars_see_that_one(
        self, export_to: list[str], emitted: bool
    ) -> None:
        planned = plan(self.WILD, entry("exact", "other", exportTo=export_to))
        assert (f"team/{self.NAME}" in reach(planned)) is emitted

    def test_a_wildcard_of_another_namespace_confines_an_exact_host_and_is_confined_by_it(self) -> None:
        private = entry("exact", "other", OLD, exportTo=["."])
        assert reach(plan(self.WILD, private)) == {f"team/{self.NAME}": ["."], f"other/{HOST}": ["."]}
        public = entry("exact", "other", OLD)
        planned = plan(self.WILD, public)
        assert reach(planned) == {f"other/{HOST}": ["."]}
        assert len(told(planned, public)) == 1

    def test_the_finding_does_not_mention_a_wildcard_for_an_exact_host(self) -> None:
        private = entry("exact", "other", OLD, exportTo=["."])
        planned = plan(self.WILD, private)
        assert "nothing is emitted for it: it has a wildcard" not in told(planned, self.WILD)[0]

    def test_an_exact_host_is_named_to_a_namespace_unless_that_has_a_wildcard_of_its_own(self) -> None:
        exact = entry(exportTo=[".", "payments"])
        wild = entry("wild", "payments", hosts=["*.com"], resolution="DYNAMIC_DNS", exportTo=["."])
        assert reach(plan(exact, wild))[f"team/{HOST}"] == ["."]
        assert reach(plan(exact, entry("wild", "payments", hosts=["*.org"])))[f"team/{HOST}"] == [".", "payments"]

    def test_a_wildcard_captures_narrower_ones_and_no_wider_ones(self) -> None:
        narrower = entry("narrow", hosts=["*.b.example.com"], resolution="NONE", ports=[HTTP], **EXEMPT)
        assert plan(self.WILD, narrower).objects == ()
        assert set(reach(plan(self.WILD, entry("wider", hosts=["*.com"], resolution="NONE", **EXEMPT)))) == {
            f"team/{self.NAME}"
        }

    def test_its_destination_rule_captures_nothing(self) -> None:
        policy = guard_policy(destinationRule={"enabled": True})
        planned = plan(self.WILD, entry("captured", **EXEMPT), policy=policy)
        assert set(reach(planned, "DestinationRule")) == {f"team/{self.NAME}"}
