"""What a team reads when an entry is refused or changed, and what is let through."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.core.rules.catalogue import CATALOGUE
from app.core.rules.verdict import WARNING_LIMIT
from app.kube.errors import Forbidden
from tests.bed.guard import Webhook
from tests.bed.processes import wait_until
from tests.e2e.team import HTTP, HTTPS, PROBE, SERVICE_ENTRIES, Team

pytestmark = pytest.mark.e2e

POSTGRES = {"number": 5432, "name": "postgres", "protocol": "TCP"}
CIDR: dict[str, Any] = {"addresses": ["10.0.0.0/8"], "resolution": "NONE"}
"""What cannot become DNS."""
EXEMPT = "serviceentry-guard.io/exempt"
VALIDATED = {"serviceentry-guard": "validated-only"}
VERBATIM = "x\u0001\u007f\r\nSEG999: forged\u2028\u202e🦄" + "y" * 400 + ".example.com"
"""A host that Istio's schema stores, and that no header could carry."""


def warnings(stderr: str) -> list[str]:
    """Each warning that kubectl prints, a line each."""
    return [line.removeprefix("Warning: ") for line in stderr.splitlines() if line.startswith("Warning: ")]


class TestARefusal:
    """An entry that can not become DNS."""

    def test_names_the_field_why_and_what_to_write_instead(self, team: Team) -> None:
        refused = team.kubectl("create", manifest=team.entry(**CIDR), check=False)
        assert refused.returncode == 1
        assert 'SEG006 spec.addresses[0]: "10.0.0.0/8" is a CIDR' in refused.stderr
        assert CATALOGUE["SEG006"].remedy in refused.stderr

    def test_names_every_field_at_once(self, team: Team) -> None:
        hosts = [team.host(), "*.example.org", "database"]
        entry = team.entry(hosts=hosts, ports=[HTTP, POSTGRES], **CIDR)
        refused = team.kubectl("create", manifest=entry, check=False)
        for place in ("spec.hosts[1]", "spec.hosts[2]", "spec.addresses[0]", "spec.ports[1].protocol"):
            assert f" {place}: " in refused.stderr

    def test_is_http_403_with_our_reason_as_its_message(self, team: Team) -> None:
        with pytest.raises(Forbidden) as refused:
            team.store(team.entry(**CIDR))
        assert refused.value.status == 403
        assert refused.value.reason == "Forbidden"
        assert "SEG006 spec.addresses[0]" in refused.value.message

    def test_of_a_create_stores_nothing(self, team: Team) -> None:
        team.kubectl("apply", manifest=team.entry(**CIDR), check=False)
        assert not team.client.list_page(SERVICE_ENTRIES, team.namespace).items

    def test_of_an_update_leaves_the_stored_entry_as_it_was(self, team: Team) -> None:
        team.store(team.entry())
        before = team.stored()
        for how in ([], ["--server-side", "--force-conflicts"]):
            assert team.kubectl("apply", *how, manifest=team.entry(**CIDR), check=False).returncode == 1
        assert team.stored() == before

    def test_of_an_annotation_beyond_the_policys_bounds_says_which(self, team: Team) -> None:
        entry = team.entry(metadata={"annotations": {"serviceentry-guard.io/attempts": "99"}})
        refused = team.kubectl("create", manifest=entry, check=False)
        assert 'metadata.annotations["serviceentry-guard.io/attempts"]: "99" is outside 0 to 10' in refused.stderr

    def test_repeats_an_authors_text_without_its_control_characters(self, team: Team) -> None:
        refused = team.kubectl("create", manifest=team.entry(hosts=[VERBATIM], resolution="NONE"), check=False)
        assert 'SEG009 spec.hosts[0]: "x????SEG999: forged??' in refused.stderr
        assert not any(line.startswith("SEG999") for line in refused.stderr.splitlines())


class TestWarnings:
    """What kubectl prints of an entry that is stored."""

    def test_say_what_was_changed_and_where_retries_do_not_reach_each_once(self, team: Team) -> None:
        applied = team.kubectl("apply", manifest=team.entry(ports=[HTTP, HTTPS], resolution="NONE"))
        assert [line.split(":")[0] for line in warnings(applied.stderr)] == [
            "SEG003 spec.resolution",
            "SEG020 spec.ports[1].protocol",
        ]

    def test_do_not_trouble_who_writes_the_recipe(self, team: Team) -> None:
        assert team.kubectl("apply", manifest=team.entry()).stderr == ""

    def test_tell_that_round_robin_never_drains_its_connections(self, team: Team) -> None:
        applied = team.kubectl("apply", manifest=team.entry(resolution="DNS_ROUND_ROBIN"))
        assert "SEG004 spec.resolution: Envoy never drains" in applied.stderr

    def test_stay_whole_whatever_the_author_wrote(self, unguarded: Team) -> None:
        unguarded.store(unguarded.entry(hosts=[VERBATIM] * 3, resolution="NONE", addresses=["10.0.0.0/8"]))
        unguarded.come_under_guard()
        (host, address) = warnings(unguarded.kubectl("label", "serviceentry", "api", "team=mine").stderr)
        assert host.startswith('SEG009 spec.hosts[0]: "x????SEG999: forged??')
        assert host.endswith("(and 2 more)")
        assert host.isprintable()
        assert len(host.encode()) <= WARNING_LIMIT
        assert address.startswith('SEG006 spec.addresses[0]: "10.0.0.0/8"')

    def test_point_out_an_annotation_that_means_nothing(self, team: Team) -> None:
        annotations = {"serviceentry-guard.io/attemps": "\u0001" * 300}
        applied = team.kubectl("apply", manifest=team.entry(metadata={"annotations": annotations}))
        assert 'SEG015 metadata.annotations: "serviceentry-guard.io/attemps" is unknown' in applied.stderr


class TestAnEntryThatWasThereBeforeTheGuard:
    """It cannot become DNS, and was stored while the webhook was not asked."""

    @pytest.fixture
    def old(self, unguarded: Team) -> Team:
        """The team whose entry `api` that is, under guard by now."""
        finalizers = {"finalizers": ["example.com/cleanup"]}
        unguarded.store(unguarded.entry(metadata=finalizers, **CIDR), unguarded.entry("fixable", resolution="NONE"))
        unguarded.come_under_guard()
        return unguarded

    def test_can_be_labelled_and_is_warned_about(self, old: Team) -> None:
        labelled = old.kubectl("label", "serviceentry", "api", "team=mine")
        assert old.stored()["metadata"]["labels"] == {"team": "mine"}
        assert warnings(labelled.stderr)[0].startswith("SEG006 spec.addresses[0]")

    def test_can_be_given_annotations_that_are_not_ours(self, old: Team) -> None:
        old.kubectl("annotate", "serviceentry", "api", "example.com/owner=mine")
        assert old.stored()["metadata"]["annotations"] == {"example.com/owner": "mine"}

    def test_can_lose_its_finalizer(self, old: Team) -> None:
        old.edit("api", metadata={"finalizers": []})
        assert "finalizers" not in old.stored()["metadata"]

    def test_goes_when_its_finalizer_is_removed_while_it_is_terminating(self, old: Team) -> None:
        old.delete("api")
        assert "deletionTimestamp" in old.stored()["metadata"]
        old.edit("api", metadata={"finalizers": []})
        old.kubectl("wait", "--for=delete", "serviceentry/api", "--timeout=10s")

    def test_is_refused_once_its_spec_is_touched(self, old: Team) -> None:
        with pytest.raises(Forbidden, match="SEG006"):
            old.edit("api", hosts=[old.host("other")])

    def test_is_refused_once_its_spec_is_touched_also_while_it_is_terminating(self, old: Team) -> None:
        old.delete("api")
        with pytest.raises(Forbidden, match="SEG006"):
            old.edit("api", hosts=[old.host("other")])

    def test_is_refused_once_an_annotation_of_ours_is_touched(self, old: Team) -> None:
        with pytest.raises(Forbidden, match="SEG006"):
            old.edit("api", metadata={"annotations": {"serviceentry-guard.io/attempts": "5"}})

    def test_can_be_exempted_with_a_reason(self, old: Team) -> None:
        old.edit("api", hosts=[old.host("other")], metadata={"annotations": {EXEMPT: "a NAT of the vendor"}})
        assert old.stored()["spec"]["addresses"] == CIDR["addresses"]

    def test_keeps_its_spec_when_it_could_become_dns_and_is_only_labelled(self, old: Team) -> None:
        labelled = old.kubectl("label", "serviceentry", "fixable", "team=mine")
        assert old.stored("fixable")["spec"]["resolution"] == "NONE"
        assert "SEG003 spec.resolution: NONE would become DNS" in labelled.stderr

    def test_becomes_dns_when_it_can_and_its_spec_is_touched(self, old: Team) -> None:
        old.edit("fixable", ports=[HTTP, HTTPS])
        assert old.stored("fixable")["spec"]["resolution"] == "DNS"


class TestValidationWithoutMutation:
    """The Mutating webhook was skipped, timed out, or was undone: only the Validating one is registered."""

    @pytest.fixture
    def validated(self, unguarded: Team, webhook: Webhook) -> Iterator[Team]:
        """A team whose namespace only /validate is asked for."""
        words = [f"{key}={value}" for key, value in VALIDATED.items()]
        unguarded.kubectl("label", "namespace", unguarded.namespace, *words)
        probe = unguarded.entry(PROBE, resolution="NONE")

        def asked() -> bool:
            return unguarded.kubectl("create", "--dry-run=server", manifest=probe, check=False).returncode == 1

        with webhook.registered(unguarded.control_plane, VALIDATED, stages=["validate"]):
            wait_until(asked, "the webhook is asked")
            yield unguarded

    def test_refuses_what_mutation_would_have_repaired(self, validated: Team) -> None:
        with pytest.raises(Forbidden, match=r"SEG012 spec\.resolution: should have become DNS"):
            validated.store(validated.entry(resolution="NONE"))

    def test_refuses_an_update_that_takes_the_resolution_back(self, validated: Team) -> None:
        validated.store(validated.entry())
        with pytest.raises(Forbidden, match="SEG012"):
            validated.edit("api", resolution="NONE")

    def test_admits_a_compliant_entry(self, validated: Team) -> None:
        validated.store(validated.entry())
        validated.expect(validated.host())
