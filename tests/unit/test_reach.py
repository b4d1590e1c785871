"""Who sees what is emitted for a host: no namespace that did not agree to it."""

from typing import Any, ClassVar

import pytest

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import Plan, desired
from app.core.rules.findings import Finding, Severity
from tests.builders import HOST, HTTP, entry, guard_policy, indexed, route, virtual_service

POLICY = guard_policy()
OLD, YOUNG = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
EXEMPT: dict[str, Any] = {"annotations": {"exempt": "the vendor pins its addresses"}}
EVERYONE = ["*"]


def plan(*entries: ServiceEntry, policy: GuardPolicy = POLICY, beside: tuple[dict[str, Any], ...] = ()) -> Plan:
    """What is planned, whatever the order in which things are seen."""
    observed = [Observed.parse(one) for one in beside]
    planned = desired(entries, policy, observed)
    again = desired(entries[::-1], policy, observed[::-1])
    assert (again.objects, again.conflicts) == (planned.objects, planned.conflicts)
    assert _sets(again) == _sets(planned)
    return planned


def http_route(namespace: str) -> dict[str, Any]:
    """An HTTPRoute on the entry of the tests: for all where it stands beside it, else for its own namespace."""
    parent = {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "api", "namespace": "team"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": namespace},
        "spec": {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "egress", "port": 80}]}]},
    }


def _sets(planned: Plan) -> dict[Key, set[Finding]]:
    return {key: set(found) for key, found in planned.findings.items()}


def reach(planned: Plan, kind: str = "VirtualService") -> dict[str, list[str]]:
    """Who sees what is emitted, by the key of the object."""
    return {str(one.key): one.manifest["spec"].get("exportTo", EVERYONE) for one in planned.objects if one.kind == kind}


def told(planned: Plan, one: ServiceEntry) -> list[str]:
    """Why less is visible than the entry, as its owner is told."""
    return [found.message for found in planned.findings.get(one.key, ()) if found.code == "SEG041"]


def confined(reason: str, host: str = HOST) -> list[str]:
    return [f'objects for "{host}" are visible in fewer namespaces: {reason}']


class TestAnEntryAlone:
    """Is seen by whom its author chose."""

    @pytest.mark.parametrize(
        "export_to", [[], ["*"], ["."], [".", "payments"], ["payments", "reports"], ["payments", "."]]
    )
    def test_export_to_is_written_as_its_author_wrote_it(self, export_to: list[str]) -> None:
        one = entry(exportTo=export_to)
        planned = plan(one)
        assert reach(planned) == {f"team/{HOST}": export_to or EVERYONE}
        assert planned.findings == {}

    @pytest.mark.parametrize(
        ("export_to", "written"),
        [
            (["team"], ["."]),
            (["payments", "team"], ["payments", "."]),
            ([".", "team", "payments", "payments"], [".", "payments"]),
            ([".", "*"], ["*"]),
            (["payments", "*", "payments"], ["*"]),
        ],
    )
    def test_each_namespace_is_written_once_and_its_own_as_a_dot(
        self, export_to: list[str], written: list[str]
    ) -> None:
        assert reach(plan(entry(exportTo=export_to))) == {f"team/{HOST}": written}

    def test_an_entry_with_export_to_none_gets_no_virtual_service(self) -> None:
        assert plan(entry(exportTo=["~"])).objects == ()

    def test_the_policy_may_keep_all_to_their_own_namespaces(self) -> None:
        policy = guard_policy(virtualService={"reach": "Namespace"})
        for export_to in ([], [".", "payments"], ["team", "payments"], ["team"], ["."]):
            planned = plan(entry(exportTo=export_to), policy=policy)
            assert reach(planned) == {f"team/{HOST}": ["."]}
            assert planned.findings == {}

    def test_reach_namespace_without_export_to_the_own_namespace_gets_no_virtual_service(self) -> None:
        policy = guard_policy(virtualService={"reach": "Namespace"})
        assert plan(entry(exportTo=["payments"]), policy=policy).objects == ()

    def test_an_annotation_keeps_it_to_its_namespace_unless_the_policy_says_otherwise(self) -> None:
        one = entry(annotations={"timeout": "5s"})
        planned = plan(one)
        assert reach(planned) == {f"team/{HOST}": ["."]}
        assert told(planned, one) == confined(
            "only namespace team sees it: its overrides apply in its own namespace only"
        )
        policy = guard_policy(virtualService={"overrides": {"reach": "Entry"}})
        assert reach(plan(one, policy=policy)) == {f"team/{HOST}": EVERYONE}

    def test_an_annotation_that_is_refused_changes_nothing(self) -> None:
        assert reach(plan(entry(annotations={"attempts": "99"}))) == {f"team/{HOST}": EVERYONE}


class TestEntriesOfOneNamespace:
    """One object serves what their ports are, where the same sidecars see all of them."""

    ADMIN: ClassVar[list[dict[str, Any]]] = [{"number": 8080, "name": "http-admin", "protocol": "HTTP"}]

    def test_the_shared_virtual_service_is_exported_to_namespaces_that_see_all_entries(self) -> None:
        older = entry("a", created=OLD, exportTo=[".", "payments", "reports"])
        younger = entry("b", created=YOUNG, exportTo=[".", "reports", "x"], ports=self.ADMIN)
        planned = plan(older, younger)
        assert reach(planned) == {f"team/{HOST}": [".", "reports"]}
        (emitted,) = planned.objects
        assert [one["match"] for one in emitted.manifest["spec"]["http"]] == [[{"port": 80}], [{"port": 8080}]]

    def test_a_private_entry_confines_the_virtual_service_of_a_public_one_with_a_finding(self) -> None:
        public, private = entry("a", created=OLD), entry("b", created=YOUNG, exportTo=["."], ports=self.ADMIN)
        planned = plan(public, private)
        assert reach(planned) == {f"team/{HOST}": ["."]}
        assert told(planned, public) == confined("ServiceEntry team/b shares the host, and has another exportTo")
        assert told(planned, private) == []
        only_here = plan(public, private, policy=guard_policy(virtualService={"reach": "Namespace"}))
        assert told(only_here, public) == []

    def test_entries_with_different_export_to_each_get_a_finding_that_names_the_other(self) -> None:
        older = entry("a", created=OLD, exportTo=[".", "payments"])
        younger = entry("b", created=YOUNG, exportTo=[".", "reports"], ports=self.ADMIN)
        planned = plan(older, younger)
        assert told(planned, older) == confined("ServiceEntry team/b shares the host, and has another exportTo")
        assert told(planned, younger) == confined("ServiceEntry team/a shares the host, and has another exportTo")

    @pytest.mark.parametrize("older", [[], [".", "payments"]])
    def test_the_virtual_service_shared_with_an_annotated_private_entry_stays_private(self, older: list[str]) -> None:
        entries = (
            entry("a", created=OLD, exportTo=older),
            entry("b", created=YOUNG, exportTo=["."], ports=self.ADMIN, annotations={"timeout": "5s"}),
        )
        assert reach(plan(*entries)) == {f"team/{HOST}": ["."]}

    def test_under_reach_namespace_it_is_private_whatever_the_older_entry_exports(self) -> None:
        entries = (entry("a", created=OLD), entry("b", created=YOUNG, exportTo=["."], ports=self.ADMIN))
        policy = guard_policy(virtualService={"reach": "Namespace"})
        assert reach(plan(*entries, policy=policy)) == {f"team/{HOST}": ["."]}

    def test_without_a_common_namespace_the_younger_entry_gets_a_finding_and_no_route(self) -> None:
        older = entry("a", created=OLD, exportTo=["payments"])
        younger = entry("b", created=YOUNG, exportTo=["reports"], ports=self.ADMIN)
        planned = plan(older, younger)
        assert reach(planned) == {f"team/{HOST}": ["payments"]}
        assert _shared(planned, younger) == [
            f'"{HOST}" belongs to ServiceEntry team/a, which is older and has another exportTo'
        ]
        assert older.key not in planned.findings

    def test_of_two_of_one_age_none_is_said_to_be_older(self) -> None:
        first, second = entry("a", exportTo=["payments"]), entry("b", exportTo=["reports"], ports=self.ADMIN)
        assert _shared(plan(first, second), second) == [
            f'"{HOST}" belongs to ServiceEntry team/a, which is first by name and has another exportTo'
        ]
        same_port = entry("a"), entry("b")
        assert _shared(plan(*same_port), same_port[1]) == [
            f'port 80 of "{HOST}" belongs to ServiceEntry team/a, which is first by name'
        ]

    def test_entries_of_different_revisions_of_istiod_are_not_served_together(self) -> None:
        older = entry("a", created=OLD, labels={"istio.io/rev": "blue"})
        younger = entry("b", created=YOUNG, labels={"istio.io/rev": "green"}, ports=self.ADMIN)
        planned = plan(older, younger)
        (emitted,) = planned.objects
        assert emitted.owner == older
        assert emitted.manifest["metadata"]["labels"]["istio.io/rev"] == "blue"
        assert [one["match"] for one in emitted.manifest["spec"]["http"]] == [[{"port": 80}]]
        assert _shared(planned, younger) == [
            f'"{HOST}" belongs to ServiceEntry team/a, which is older and has another label istio.io/rev'
        ]

    def test_a_third_entry_with_the_labels_of_the_first_is_merged_and_the_second_is_not(self) -> None:
        planned = plan(
            entry("a", created=OLD, labels={"istio.io/rev": "blue"}),
            entry("b", created=YOUNG, ports=self.ADMIN),
            entry("c", created=YOUNG, ports=self.ADMIN, labels={"istio.io/rev": "blue"}),
        )
        (emitted,) = planned.objects
        assert len(emitted.manifest["spec"]["http"]) == 2


def _shared(planned: Plan, one: ServiceEntry) -> list[str]:
    return [found.message for found in planned.findings[one.key] if found.code == "SEG022"]


class TestTheRevisionOfIstiod:
    """The label istio.io/rev, by which istiod chooses what it reads."""

    @pytest.mark.parametrize("kind", ["VirtualService", "DestinationRule"])
    def test_it_is_copied_and_no_other_label_is(self, kind: str) -> None:
        policy = guard_policy(destinationRule={"enabled": True})
        labels = {"istio.io/rev": "canary", "argocd.argoproj.io/instance": "app", "istio.io/use-waypoint": "x"}
        (emitted,) = (one for one in plan(entry(labels=labels), policy=policy).objects if one.kind == kind)
        assert emitted.manifest["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "serviceentry-guard",
            "istio.io/rev": "canary",
        }

    def test_one_that_is_lost_is_written_again(self) -> None:
        (emitted,) = plan(entry(labels={"istio.io/rev": "canary"})).objects
        stored = Observed.parse(emitted.manifest)
        assert stored.fingerprint == emitted.fingerprint
        del emitted.manifest["metadata"]["labels"]["istio.io/rev"]
        assert Observed.parse(emitted.manifest).fingerprint != emitted.fingerprint


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


class TestOrder:
    """Of several reasons always the same one is told, whatever the order in which things were seen."""

    def test_of_several_entries_on_which_nothing_is_emitted(self) -> None:
        entries = [entry(created=OLD), *(entry(name, "other", YOUNG, **EXEMPT) for name in "bca")]
        assert "ServiceEntry other/a " in told(plan(*entries), entries[0])[0]

    def test_of_several_entries_with_a_wildcard(self) -> None:
        entries = [entry(), *(entry(name, "other", hosts=[f"*.{name}"]) for name in ("com", "example.com"))]
        assert len(told(plan(*entries), entries[0])) == 1

    def test_of_several_entries_that_a_wildcard_would_capture(self) -> None:
        wild = entry("wild", hosts=["*.example.com"], resolution="DYNAMIC_DNS")
        plan(wild, *(entry(name, **EXEMPT) for name in "bca"))
        plan(wild, entry("z", hosts=["a.example.com"], **EXEMPT), entry("a", hosts=["z.example.com"], **EXEMPT))

    def test_of_several_routes_of_others(self) -> None:
        claims = tuple(virtual_service(name, "other", exportTo=["."]) for name in "bca")
        assert "VirtualService other/a " in told(plan(entry(), beside=claims), entry())[0]
        named = entry(exportTo=[".", "other"])
        assert "VirtualService other/a," in told(plan(named, beside=claims), named)[0]


class TestNames:
    """An object takes another name where one that is not ours has its name and claims nothing."""

    INGRESS = virtual_service(HOST, gateways=["edge"])
    SECOND = virtual_service(f"{HOST}.2", gateways=["edge"])

    def test_the_first_name_is_taken_where_it_is_free(self) -> None:
        assert set(reach(plan(entry(), beside=(self.SECOND,)))) == {f"team/{HOST}"}

    def test_the_second_name_is_taken_where_the_first_is_not_free(self) -> None:
        assert set(reach(plan(entry(), beside=(self.INGRESS,)))) == {f"team/{HOST}.2"}
        assert set(reach(plan(entry(), beside=(virtual_service(HOST, "other", gateways=["edge"]),)))) == {
            f"team/{HOST}"
        }

    def test_two_taken_names_are_a_conflict_and_no_virtual_service_is_emitted(self) -> None:
        planned = plan(entry(), beside=(self.INGRESS, self.SECOND))
        assert planned.objects == ()
        (conflict,) = planned.conflicts
        assert conflict.finding.code == "SEG021"
        assert conflict.finding.other == ("VirtualService", Key("team", HOST))

    def test_where_both_are_taken_by_what_routes_nothing_it_is_not_said_to_route_the_host(self) -> None:
        (conflict,) = plan(entry(), beside=(self.INGRESS, self.SECOND)).conflicts
        assert conflict.finding.message == (
            f"VirtualService team/{HOST} has the name that the guard's object would have, so no VirtualService is "
            f"emitted"
        )
        assert conflict.finding.remedy == "Give the other object another name: then the guard emits its own."

    def test_a_name_that_is_ours_is_free(self) -> None:
        (emitted,) = plan(entry()).objects
        assert plan(entry(), beside=(emitted.manifest,)).objects == (emitted,)

    def test_an_object_of_another_kind_takes_no_name(self) -> None:
        other = {**virtual_service(HOST), "kind": "DestinationRule", "spec": {"host": "unrelated.example.com"}}
        assert set(reach(plan(entry(), beside=(other,)))) == {f"team/{HOST}"}

    def test_a_conflict_names_the_first_claimant_by_name(self) -> None:
        claims = (virtual_service("b"), virtual_service("a", hosts=["*.com"]))
        (conflict,) = plan(entry(), beside=claims).conflicts
        assert conflict.claimant.key == Key("team", "a")

    def test_both_names_are_decided_at_one_place(self) -> None:
        index = indexed([entry()], [Observed.parse(self.INGRESS), Observed.parse(self.SECOND)])
        assert index.names() == {Key("team", HOST)}
        assert {one.key.name for one in index.neighbours(Key("team", HOST)).observed} == {HOST, f"{HOST}.2"}


class TestDestinationRules:
    """Follow the same rules, with settings of their own."""

    POLICY = guard_policy(destinationRule={"enabled": True})

    def test_who_sees_them_is_decided_as_for_virtual_services(self) -> None:
        planned = plan(entry("z", "first", OLD), entry("a", "second", YOUNG), policy=self.POLICY)
        assert reach(planned, "DestinationRule") == {f"first/{HOST}": EVERYONE, f"second/{HOST}": ["."]}

    def test_a_namespace_with_other_settings_of_routes_sees_the_destination_rule_all_the_same(self) -> None:
        policy = guard_policy(
            destinationRule={"enabled": True}, namespaces=[{"match": ["x"], "virtualService": {"timeout": "1s"}}]
        )
        planned = plan(entry(), policy=policy)
        assert reach(planned) == {f"team/{HOST}": ["."]}
        assert reach(planned, "DestinationRule") == {f"team/{HOST}": EVERYONE}

    def test_one_of_others_for_the_host_is_yielded_to(self) -> None:
        other = {**virtual_service(), "kind": "DestinationRule", "spec": {"host": HOST}}
        planned = plan(entry(), policy=self.POLICY, beside=(other,))
        assert (set(reach(planned)), reach(planned, "DestinationRule")) == ({f"team/{HOST}"}, {})
        (conflict,) = planned.conflicts
        assert conflict.finding.message == (
            f'DestinationRule team/theirs already configures "{HOST}", so no DestinationRule is emitted'
        )

    def test_routes_of_others_do_not_confine_it(self) -> None:
        claim = virtual_service(namespace="other", exportTo=["."], http=[route(HOST)])
        planned = plan(entry(), policy=self.POLICY, beside=(claim,))
        assert reach(planned) == {f"team/{HOST}": ["."]}
        assert reach(planned, "DestinationRule") == {f"team/{HOST}": EVERYONE}


def test_another_protocol_is_found_behind_an_entry_with_the_same_one() -> None:
    own = entry(name="own", created=OLD)
    same = entry(namespace="b", name="same", created=YOUNG)
    differing = entry(namespace="c", name="grpc", created=YOUNG, ports=[{**HTTP, "protocol": "GRPC"}])
    planned = plan(own, same, differing)
    reason = f"ServiceEntry {differing.key} declares port 80 of the host with another protocol"
    assert told(planned, own) == confined(f"only namespace {own.key.namespace} sees it: {reason}")


def test_protocols_of_a_port_that_the_entry_does_not_declare_change_nothing() -> None:
    own = entry(name="own", created=OLD)
    others = [
        entry(
            namespace=name,
            name="other",
            created=YOUNG,
            ports=[HTTP, {"number": 8080, "name": "b", "protocol": protocol}],
        )
        for name, protocol in (("b", "HTTP"), ("c", "GRPC"))
    ]
    assert told(plan(own, *others), own) == []
