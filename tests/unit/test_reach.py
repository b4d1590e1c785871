"""Who sees what is emitted for a host, beside the other entries of its namespace."""

from typing import Any, ClassVar

import pytest

from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import Plan
from tests.builders import HOST, HTTP, entry, guard_policy, indexed, route, virtual_service
from tests.unit.reached import EVERYONE, EXEMPT, OLD, YOUNG, confined, plan, reach, told


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
