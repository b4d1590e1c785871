"""Entries of one namespace that share a host: together they change their resolution, or none of them does."""

import json
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.rules.findings import Severity
from app.core.rules.kept_resolutions import Standing, Stays, as_document, parse_standing, places
from app.core.rules.patch import authored
from app.core.rules.siblings import Held, Member, at_odds, beside, held, judged, keep, led, slipped, standing
from app.core.rules.verdict import Verdict, review
from tests.builders import CIDR, HOST, HTTP, TCP, TLS, applied, entry, guard_policy

POLICY = guard_policy()
EXEMPT = {"exempt": "the vendor pins its addresses"}
OPEN: dict[str, Any] = {"resolution": "NONE"}
"""The part of a spec that becomes DNS."""
STAYS: dict[str, Any] = {"annotations": EXEMPT, "resolution": "NONE"}
"""What keeps an entry at NONE whatever its hosts and ports are."""


def members(*entries: ServiceEntry, policy: GuardPolicy = POLICY) -> dict[str, Member]:
    """The entries with the verdict on each alone, by name."""
    return {one.key.name: Member.stored(one, review(one, policy), policy) for one in entries}


def kept(*entries: ServiceEntry, policy: GuardPolicy = POLICY) -> dict[str, tuple[str, str]]:
    """Who is held back, with the sibling that keeps it and the host that both name."""
    return {name: (one.sibling.name, one.host) for name, one in held(members(*entries, policy=policy)).items()}


def chain(length: int) -> list[ServiceEntry]:
    """Entries of which each shares a host with the next; all of them can become DNS."""
    return [entry(f"e{number}", hosts=[f"h{number}.a", f"h{number + 1}.a"], **OPEN) for number in range(length)]


class TestHeld:
    """Who must keep its resolution."""

    def test_entries_that_all_change_are_held_by_none(self) -> None:
        assert kept(*chain(5)) == {}

    def test_an_entry_holds_all_that_share_a_host_with_it_and_those_hold_others_in_turn(self) -> None:
        stays = entry("stays", hosts=["h2.a"], **STAYS)
        assert kept(*chain(4), stays) == {
            "e1": ("stays", "h2.a"),
            "e2": ("stays", "h2.a"),
            "e0": ("e1", "h1.a"),
            "e3": ("e2", "h3.a"),
        }

    def test_entries_of_another_namespace_hold_nothing(self) -> None:
        assert kept(entry("one", **OPEN), entry("two", "other", **STAYS)) == {}

    def test_hosts_are_compared_whatever_their_case_and_final_dot(self) -> None:
        assert kept(entry("one", hosts=["API.Example.com."], **OPEN), entry("two", **STAYS)) == {"one": ("two", HOST)}

    def test_an_entry_that_names_a_host_twice_does_not_hold_itself(self) -> None:
        assert kept(entry("one", hosts=[HOST, HOST.upper()], **OPEN)) == {}

    @pytest.mark.parametrize(
        "spec",
        [
            CIDR,
            {"annotations": EXEMPT, "resolution": "NONE"},
            {"ports": [TCP], "resolution": "NONE"},
            {"ports": [HTTP, TCP], "resolution": "NONE"},
            {"resolution": "STATIC", "endpoints": [{"address": "192.0.2.1"}]},
            {"resolution": "DNS_ROUND_ROBIN"},
            {"location": "MESH_INTERNAL", "resolution": "NONE"},
            {"hosts": [HOST, "*.example.com"], "resolution": "NONE"},
        ],
        ids=["cidr", "exempt", "tcp", "mixed", "static", "round robin", "out of scope", "wildcard"],
    )
    def test_whatever_keeps_another_resolution_holds(self, spec: Mapping[str, Any]) -> None:
        assert kept(entry("one", **OPEN), entry("two", **spec)) == {"one": ("two", HOST)}

    def test_an_entry_with_resolution_dns_holds_none_that_becomes_dns(self) -> None:
        assert kept(entry("one", **OPEN), entry("two")) == {}

    def test_of_several_that_stay_any_with_another_resolution_holds(self) -> None:
        same = entry("a")
        first, second = entry("b", **STAYS), entry("c", **CIDR)
        assert kept(same, first, second, entry("open", **OPEN)) == {"open": ("b", HOST)}
        assert kept(same, second, entry("open", **OPEN)) == {"open": ("c", HOST)}

    @given(st.randoms(use_true_random=False))
    def test_the_sibling_that_is_named_does_not_depend_on_the_order_in_which_entries_are_found(
        self, chance: random.Random
    ) -> None:
        entries = [*chain(3), *(entry(f"stays-{name}", hosts=["h1.a", "h2.a"], **STAYS) for name in "ab")]
        entries.append(entry("dns", hosts=["h2.a"], ports=[TLS]))
        shuffled = chance.sample(entries, len(entries))
        assert judged(members(*shuffled), POLICY) == judged(members(*entries), POLICY)

    def test_an_entry_that_is_being_deleted_keeps_its_resolution_and_holds(self) -> None:
        assert kept(entry("one", **OPEN), entry("two", terminating=True, **OPEN)) == {"one": ("two", HOST)}

    def test_where_the_policy_reports_siblings_do_not_follow_so_that_none_of_them_changes(self) -> None:
        both = entry("one", **OPEN), entry("two", **OPEN)
        assert kept(*both, policy=guard_policy(existing="Report")) == {"one": ("two", HOST), "two": ("one", HOST)}
        assert kept(both[0], policy=guard_policy(existing="Report")) == {}
        for existing in ("Siblings", "Remediate"):
            assert kept(*both, policy=guard_policy(existing=existing)) == {}

    def test_wildcards_become_dynamic_dns_together_or_not_at_all(self) -> None:
        policy = guard_policy(resolution={"wildcards": "DynamicDNS"})
        wild: dict[str, Any] = {"hosts": ["*.example.com"], "resolution": "NONE"}
        assert kept(entry("one", **wild), entry("two", **wild), policy=policy) == {}
        third = entry("three", ports=[{"number": 443, "name": "x", "protocol": "HTTPS"}], **wild)
        assert set(kept(entry("one", **wild), entry("two", **wild), third, policy=policy)) == {"one", "two"}

    @given(st.randoms(use_true_random=False), st.integers(0, 6), st.integers(0, 3))
    def test_whatever_is_left_to_change_shares_no_host_with_what_keeps_another_resolution(
        self, chance: random.Random, changing: int, staying: int
    ) -> None:
        hosts = [f"h{number}.a" for number in range(4)]
        entries = [entry(f"o{number}", hosts=chance.sample(hosts, 2), **OPEN) for number in range(changing)]
        entries += [entry(f"s{number}", hosts=chance.sample(hosts, 1), **STAYS) for number in range(staying)]
        chance.shuffle(entries)
        all_ = members(*entries)
        found = held(all_)
        ends = {name: one.entry.resolution if name in found else one.resolution for name, one in all_.items()}
        for name, one in all_.items():
            beside_ = [other for other, each in all_.items() if {*places(each.entry)} & {*places(one.entry)}]
            assert len({ends[other] for other in beside_}) == 1
            assert name not in found or any(all_[other].stays or other in found for other in beside_ if other != name)
        reachable = _reached(all_, {name for name, one in all_.items() if one.stays})
        assert found.keys() == reachable - {name for name, one in all_.items() if one.stays}


def _reached(all_: Mapping[str, Member], start: Iterable[str]) -> set[str]:
    """What is joined to some entries by shared hosts, directly or by others."""
    found, waiting = set(start), list(start)
    while waiting:
        here = {*places(all_[waiting.pop()].entry)}
        for name, one in all_.items():
            if name not in found and here & {*places(one.entry)}:
                found.add(name)
                waiting.append(name)
    return found


def calls(function: Callable[[], object]) -> int:
    """How many calls of Python a call makes: what it costs, on any machine."""
    counted = [0]

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        counted[0] += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counted[0]


class TestWork:
    """What a decision costs: twice as much for twice as many entries, and not four times."""

    def members(self, *entries: ServiceEntry) -> dict[Key, Member]:
        """By their keys, as in a cluster: each look at one is a call then, for a key is hashed in Python."""
        return {one.entry.key: one for one in members(*entries).values()}

    def test_hosts_that_one_entry_names_cost_nothing_more(self) -> None:
        def alone(number: int) -> dict[Key, Member]:
            return self.members(*(entry(f"e{one}", hosts=[f"h{one}.a"], **OPEN) for one in range(number)))

        small, large = alone(20), alone(40)
        assert calls(lambda: held(large)) < 3 * calls(lambda: held(small))

    def test_a_long_chain_costs_as_much_as_it_is_long(self) -> None:
        def chained(length: int) -> dict[Key, Member]:
            return self.members(*chain(length), entry("stays", hosts=[f"h{length}.a"], **STAYS))

        small, large = chained(100), chained(200)
        assert len(held(large)) == 200
        assert calls(lambda: held(large)) < 3 * calls(lambda: held(small))

    def test_entries_that_name_the_same_hosts_cost_no_square(self) -> None:
        def same(number: int) -> dict[Key, Member]:
            hosts = [f"h{one}.a" for one in range(20)]
            return self.members(
                *(entry(f"e{one}", hosts=hosts, **OPEN) for one in range(number)),
                entry("stays", hosts=hosts[:1], **STAYS),
            )

        small, large = same(20), same(40)
        assert len(held(large)) == 40
        assert calls(lambda: held(large)) < 3 * calls(lambda: held(small))

    def test_entries_at_odds_over_one_host_cost_no_square(self) -> None:
        def both(number: int) -> dict[Key, Member]:
            specs: list[dict[str, Any]] = [{}, {"resolution": "DNS_ROUND_ROBIN"}]
            return self.members(*(entry(f"e{one}", **specs[one % 2]) for one in range(number)))

        small, large = both(40), both(80)
        assert calls(lambda: at_odds(large, {})) < 3 * calls(lambda: at_odds(small, {}))


class TestVerdicts:
    """What the author of an entry is told."""

    ONE = entry("one", hosts=[HOST, "b.example.com"], ports=[HTTP, TLS], **OPEN)
    TWO = entry("two", ports=[{"number": 8443, "name": "x", "protocol": "TLS"}], **STAYS)

    def test_a_held_entry_is_refused_and_both_entries_and_their_ports_are_named(self) -> None:
        verdict = judged(members(self.ONE, self.TWO), POLICY)["one"]
        assert (verdict.patch, verdict.allowed, verdict.unfixable) == ((), False, verdict.errors)
        (finding,) = verdict.errors
        assert finding.code == "SEG040"
        assert finding.path == "spec.hosts"
        assert finding.other == ("ServiceEntry", Key("team", "two"))
        assert finding.message == (
            'ServiceEntry team/two names "api.example.com" too and keeps resolution NONE: with different resolutions '
            "either its port 8443 (TLS) or port 80 (HTTP) (and 1 more) of this entry has no cluster"
        )
        assert "SEG003" not in verdict.codes

    def test_other_findings_are_reported_as_well(self) -> None:
        verdict = judged(members(self.ONE, self.TWO), POLICY)["one"]
        assert verdict.codes == ("SEG020", "SEG040")

    def test_the_sibling_that_keeps_its_resolution_has_no_finding(self) -> None:
        assert judged(members(self.ONE, self.TWO), POLICY)["two"] == review(self.TWO, POLICY)

    def test_an_entry_that_names_no_port_is_said_to_have_none(self) -> None:
        verdict = judged(members(entry("one", **OPEN), entry("two", ports=[], **STAYS)), POLICY)["one"]
        assert "either its no port or port 80 (HTTP) of this entry" in verdict.denial

    @pytest.mark.parametrize(
        ("document", "severity"),
        [
            ({}, Severity.ERROR),
            ({"resolution": {"unfixable": "Warn"}}, Severity.WARNING),
        ],
    )
    def test_it_is_refused_as_what_cannot_become_dns_is(self, document: dict[str, Any], severity: Severity) -> None:
        policy = guard_policy(**document)
        verdict = judged(members(self.ONE, self.TWO, policy=policy), policy)["one"]
        assert [one.severity for one in verdict.findings if one.code == "SEG040"] == [severity]
        assert verdict.patch == ()

    def test_under_warn_it_is_a_warning(self) -> None:
        policy = guard_policy(mode="Warn")
        found = Held(self.ONE, Stays.of(self.TWO), HOST)
        verdict = keep(review(self.ONE, policy), found, policy)
        assert verdict.allowed
        assert "SEG040" in verdict.codes
        assert "SEG003" not in verdict.codes


class TestAtOdds:
    """Entries of one host that stand with different resolutions already."""

    def odds(self, *entries: ServiceEntry) -> dict[str, str]:
        """The messages, by the name of the entry that is told."""
        all_ = members(*entries)
        return {name: found.message for name, found in at_odds(all_, held(all_)).items()}

    def test_both_findings_name_the_other_entry_and_the_ports_without_a_cluster(self) -> None:
        one, two = entry("one"), entry("two", ports=[TLS], **STAYS)
        assert self.odds(one, two) == {
            "one": 'ServiceEntry team/two names "api.example.com" too and has resolution NONE: '
            "either its port 443 (TLS) or port 80 (HTTP) has no cluster",
            "two": 'ServiceEntry team/one names "api.example.com" too and has resolution DNS: '
            "either its port 80 (HTTP) or port 443 (TLS) has no cluster",
        }

    def test_entries_with_the_same_ports_lose_none_of_them(self) -> None:
        assert self.odds(entry("one"), entry("two", **STAYS)) == {}

    def test_entries_with_one_resolution_are_not_at_odds(self) -> None:
        assert self.odds(entry("one", ports=[TLS]), entry("two", ports=[TLS, HTTP])) == {}
        assert self.odds(entry("one", ports=[TLS], **STAYS), entry("two", **STAYS)) == {}

    def test_the_finding_names_an_entry_with_a_different_final_resolution(self) -> None:
        found = self.odds(entry("one"), entry("same", ports=[TLS]), entry("two", ports=[TCP], **STAYS))
        assert found.keys() == {"one", "same", "two"}
        assert "team/two" in found["one"]

    def test_it_is_a_warning_beside_the_other_findings_and_takes_nothing_from_the_patch(self) -> None:
        entries = (
            entry("one", hosts=[HOST, "b.a"], ports=[TLS]),
            entry("two", **STAYS),
            entry("three", hosts=["b.a"], ports=[TLS], **OPEN),
        )
        verdicts = judged(members(*entries), POLICY)
        assert verdicts["one"].codes == ("SEG020", "SEG040")
        assert verdicts["one"].allowed
        assert verdicts["three"].patch

    def test_an_entry_that_keeps_its_resolution_has_only_this_finding(self) -> None:
        entries = entry("dns", ports=[TLS]), entry("open", ports=[TCP, HTTP], **OPEN), entry("stays", **STAYS)
        held_back = entry("held", ports=[{"number": 81, "name": "x", "protocol": "HTTP"}], **OPEN)
        verdicts = judged(members(*entries, held_back), POLICY)
        assert verdicts["held"].codes == ("SEG040",)
        assert len(verdicts["held"].findings) == 1


class TestTheWebhook:
    """Knows of others only those that keep their resolution."""

    def known(self, *entries: ServiceEntry) -> Standing:
        """What the controller writes of stored entries."""
        all_ = members(*entries)
        return standing(all_, held(all_))

    def judge(self, one: ServiceEntry, stored: Standing, policy: GuardPolicy = POLICY) -> Verdict:
        return beside(review(one, policy), one, stored, policy)

    def test_a_stored_entry_that_keeps_its_resolution_holds_one_that_comes(self) -> None:
        stored = self.known(entry("two", **STAYS))
        verdict = self.judge(entry("one", **OPEN), stored)
        assert verdict.codes == ("SEG040",)
        assert verdict == judged(members(entry("one", **OPEN), entry("two", **STAYS)), POLICY)["one"]

    def test_an_entry_that_keeps_its_resolution_blocks_a_new_sibling_too(self) -> None:
        stored = self.known(entry("two", hosts=["a.a"], **STAYS), entry("held", hosts=["a.a", HOST], **OPEN))
        assert 'ServiceEntry team/held names "api.example.com"' in self.judge(entry("one", **OPEN), stored).denial

    @pytest.mark.parametrize(
        "one",
        [
            entry("two", **OPEN),
            entry("one", "other", **OPEN),
            entry("one", hosts=["b.a"], **OPEN),
            entry("one"),
            entry("one", **STAYS),
        ],
        ids=["itself", "another namespace", "another host", "dns already", "stays as well"],
    )
    def test_nothing_else_holds(self, one: ServiceEntry) -> None:
        assert self.judge(one, self.known(entry("two", **STAYS))) == review(one, POLICY)

    @pytest.mark.parametrize(
        ("was", "allowed"), [("DNS", True), ("NONE", False), (None, False)], ids=["dns", "none", "created"]
    )
    def test_an_entry_that_had_dns_may_be_given_the_siblings_resolution(self, was: str | None, allowed: bool) -> None:
        one, old = entry("one", **OPEN), entry("one", resolution=was) if was else None
        verdict = beside(review(one, POLICY), one, self.known(entry("two", **STAYS)), POLICY, old)
        assert verdict.codes == ("SEG040",)
        assert verdict.allowed is allowed
        assert not verdict.patch

    def test_where_nothing_is_known_nothing_holds(self) -> None:
        assert self.judge(entry("one", **OPEN), {}).patch

    def test_entries_that_follow_or_have_what_entries_are_given_are_not_written(self) -> None:
        assert (
            self.known(entry("one", **OPEN), entry("two"), entry("three", hosts=["*.a"], resolution="DYNAMIC_DNS"))
            == {}
        )

    def test_of_each_resolution_two_are_written_so_that_an_entry_finds_another_than_itself(self) -> None:
        static: dict[str, Any] = {"resolution": "STATIC", "endpoints": [{"address": "192.0.2.1"}]}
        stored = self.known(*(entry(name, **STAYS) for name in "dcba"), *(entry(name, **static) for name in "zyx"))
        assert [one.name for one in stored["team", HOST]] == ["a", "b", "x", "y"]
        assert self.judge(entry("a", **OPEN), stored).codes == ("SEG040",)

    def test_the_written_document_is_read_back_unchanged(self) -> None:
        stored = self.known(entry("two", hosts=[HOST, "b.a"], **STAYS), entry("x", "other", ports=[], **STAYS))
        document = json.loads(json.dumps(as_document(stored)))
        assert document == {
            "other": {HOST: [["x", "NONE", "no port"]]},
            "team": {HOST: [["two", "NONE", "port 80 (HTTP)"]], "b.a": [["two", "NONE", "port 80 (HTTP)"]]},
        }
        assert parse_standing(document) == stored

    @pytest.mark.parametrize(
        "broken",
        [
            [],
            {"team": []},
            {"team": {HOST: {}}},
            {"team": {HOST: [{}]}},
            {"team": {HOST: [["a", "NONE"]]}},
            {"team": {HOST: [["a", "NONE", 1]]}},
        ],
    )
    def test_anything_else_is_not_such_a_document(self, broken: Any) -> None:
        with pytest.raises(ValueError, match="must "):
            parse_standing(broken)


class TestTheController:
    """Brings siblings along, and puts back what admission should not have changed."""

    def test_an_entry_is_led_by_one_of_its_host_that_has_the_resolution_already(self) -> None:
        one = entry("one", **OPEN)
        assert led(one, "DNS", [one, entry("two")])
        assert not led(one, "DNS", [one])
        assert not led(one, "DNS", [entry("one")])
        assert not led(one, "DNS", [entry("two", **STAYS), entry("three", hosts=["b.a"])])
        assert not led(one, "DYNAMIC_DNS", [entry("two")])

    STORED: ClassVar[Standing] = {("team", HOST): (Stays("two", "NONE", "port 80 (HTTP)"),)}

    def test_a_change_that_slipped_past_a_sibling_is_to_be_put_back(self) -> None:
        assert slipped(entry("one", **OPEN), entry("one"), self.STORED, POLICY) == "NONE"

    def test_an_entry_that_came_with_what_admission_gives_is_taken_to_have_had_what_its_sibling_has(self) -> None:
        assert slipped(None, entry("one"), self.STORED, POLICY) == "NONE"

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (entry("one"), entry("one")),
            (entry("one", **OPEN), entry("one", **OPEN)),
            (entry("two", **OPEN), entry("two")),
            (entry("one", **OPEN), entry("one", resolution="STATIC", endpoints=[{"address": "192.0.2.1"}])),
            (entry("one", **CIDR), entry("one", addresses=["192.0.2.0/24"])),
            (entry("one", "other", **OPEN), entry("one", "other")),
        ],
        ids=["was so", "unchanged", "itself", "written by the author", "not by us", "another namespace"],
    )
    def test_the_controller_keeps_a_resolution_that_admission_did_not_set(
        self, old: ServiceEntry, new: ServiceEntry
    ) -> None:
        assert slipped(old, new, self.STORED, POLICY) is None

    def test_last_applied_configuration_shows_the_resolution_of_the_author(self) -> None:
        assert authored(applied({"spec": {"resolution": "DNS"}})) == "DNS"
        assert authored(applied({"spec": {"hosts": ["a.b"]}})) == "NONE"

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"spec": 1}', "{}", "[" * 100_000])
    def test_without_a_readable_last_applied_annotation_it_is_not_known(self, text: str) -> None:
        assert authored(applied({}, text)) == ""
        assert authored({}) == ""

    @pytest.mark.parametrize(
        ("owners", "written"),
        [
            ([("helm", "f:hosts")], "NONE"),
            ([("helm", "f:resolution")], ""),
            ([("helm", "f:hosts"), ("serviceentry-guard", "f:resolution")], "NONE"),
            ([("helm", "f:resolution"), ("serviceentry-guard", "f:resolution")], ""),
            ([], ""),
        ],
    )
    def test_a_resolution_that_no_other_field_manager_owns_was_not_written_by_the_author(
        self, owners: list[tuple[str, str]], written: str
    ) -> None:
        managers = [{"manager": name, "fieldsV1": {"f:spec": {field: {}}}} for name, field in owners]
        assert authored({"metadata": {"managedFields": managers}}) == written

    def test_the_field_manager_of_a_status_wrote_no_entry(self) -> None:
        istiod = {"manager": "pilot", "subresource": "status", "fieldsV1": {"f:status": {}}}
        assert authored({"metadata": {"managedFields": [istiod]}}) == ""


class TestSplitHosts:
    """Entries of one host that declare different ports or addresses."""

    PORTS: ClassVar = {
        "http": entry("http", created="2025-01-01T00:00:00Z", **OPEN),
        "tls": entry("tls", created="2025-01-02T00:00:00Z", ports=[TLS], **OPEN),
    }

    def test_both_keep_their_resolution_with_a_warning_that_names_the_other(self) -> None:
        verdicts = judged(members(*self.PORTS.values()), POLICY)
        for name, other in (("http", "tls"), ("tls", "http")):
            assert not verdicts[name].patch
            assert verdicts[name].allowed
            told = next(one for one in verdicts[name].findings if one.code == "SEG051")
            assert told.severity is Severity.WARNING
            assert told.other == ("ServiceEntry", Key("team", other))
            assert f"team/{other} names" in told.message

    def test_http_ports_may_differ(self) -> None:
        other = {"number": 8080, "name": "http-8080", "protocol": "HTTP"}
        assert kept(entry("one", **OPEN), entry("two", ports=[other], **OPEN)) == {}

    @pytest.mark.parametrize("split_hosts", ["Leave", "DNS"])
    def test_a_port_of_an_entry_with_dns_keeps_its_protocol(self, split_hosts: str) -> None:
        policy = guard_policy(resolution={"splitHosts": split_hosts})
        http2 = entry("young", ports=[{"number": 80, "name": "h2", "protocol": "HTTP2"}])
        old, third = entry("old", **OPEN), entry("third", ports=[TLS], **OPEN)
        verdicts = judged(members(http2, old, policy=policy), policy)
        assert not verdicts["old"].patch
        assert {"SEG040", "SEG051"} & {*verdicts["old"].codes}
        assert not judged(members(http2, old, third, policy=policy), policy)["third"].patch, "all of the host keep it"

    def test_entries_that_change_together_may_differ_in_protocols(self) -> None:
        http2 = entry("two", ports=[{"number": 80, "name": "h2", "protocol": "HTTP2"}], **OPEN)
        verdicts = judged(members(entry("one", **OPEN), http2), POLICY)
        assert all(verdict.patch for verdict in verdicts.values())

    def test_the_policy_can_have_them_changed(self) -> None:
        policy = guard_policy(resolution={"splitHosts": "DNS"})
        verdicts = judged(members(*self.PORTS.values(), policy=policy), policy)
        assert all(one.patch and "SEG051" not in one.codes for one in verdicts.values())

    def test_an_entry_keeps_its_resolution_beside_one_that_has_addresses(self) -> None:
        assert kept(entry("name", ports=[TLS], **OPEN), entry("address", ports=[TLS], addresses=["192.0.2.1"])) == {
            "name": ("address", HOST)
        }

    def test_entries_that_are_already_dns_have_the_finding(self) -> None:
        one, two = entry("one"), entry("two", ports=[TLS])
        assert {name: finding.code for name, finding in at_odds(members(one, two), {}).items()} == {
            "one": "SEG051",
            "two": "SEG051",
        }

    def test_who_shares_another_host_with_one_that_is_left_is_left_with_a_warning(self) -> None:
        http = entry("http", hosts=[HOST, "b.a"], **OPEN)
        verdicts = judged(members(http, self.PORTS["tls"], entry("third", hosts=["b.a"], **OPEN)), POLICY)
        assert verdicts["third"].codes == ("SEG051",)
        assert verdicts["third"].allowed

    def test_where_resolutions_differ_already_the_ports_that_have_no_cluster_are_named(self) -> None:
        verdicts = judged(members(self.PORTS["tls"], entry("young", created="2026-01-01T00:00:00Z")), POLICY)
        assert verdicts["tls"].codes == ("SEG020", "SEG040")
        assert verdicts["tls"].allowed

    def test_a_sibling_that_keeps_another_resolution_counts_first(self) -> None:
        verdicts = judged(members(*self.PORTS.values(), entry("stays", **STAYS)), POLICY)
        assert all("SEG040" in verdicts[name].codes and not verdicts[name].allowed for name in self.PORTS)

    def test_the_webhook_does_not_patch_entries_of_a_split_host(self) -> None:
        company = members(*self.PORTS.values())
        stored = parse_standing(as_document(standing(company, held(company))))
        for one in (*self.PORTS.values(), entry("new", ports=[TLS], **OPEN)):
            verdict = beside(review(one, POLICY), one, stored, POLICY)
            assert not verdict.patch
            assert verdict.allowed
            assert verdict.codes[-1] == "SEG051"

    def test_the_webhook_knows_an_entry_with_addresses_that_keeps_its_sibling_from_dns(self) -> None:
        name = entry("name", ports=[TLS], **OPEN)
        company = members(name, entry("address", ports=[TLS], addresses=["192.0.2.1"]))
        stored = standing(company, held(company))
        assert not beside(review(name, POLICY), name, stored, POLICY, name).patch

    def test_the_controller_restores_a_resolution_that_the_webhook_changed_too_early(self) -> None:
        company = members(self.PORTS["http"], entry("tls", ports=[TLS]))
        assert slipped(None, entry("tls", ports=[TLS]), standing(company, held(company)), POLICY) == "NONE"
