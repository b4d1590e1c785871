"""No remedy of the catalogue leads into a harm: each is followed, and the result held against the rule."""

from typing import Any

import pytest

from app.core.policy.model import default_policy
from app.core.rules.catalogue import CATALOGUE, UNFIXABLE
from tests.cases import CASES
from tests.harm.facts import Facts
from tests.harm.generator import Generator
from tests.harm.guarded import World, change
from tests.harm.protocol import Manifest
from tests.harm.remedies import REMEDIES, Remedy, at_addresses
from tests.harm.trial import Trial

POLICY = default_policy()
TELLING = {rule.code for rule in UNFIXABLE}


def _entry(name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"location": "MESH_EXTERNAL", **spec},
    }


HTTP, TLS = {"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 443, "name": "tls", "protocol": "TLS"}
OWN = [
    _entry("one-address", hosts=["a.example.com"], addresses=["192.0.2.1"], ports=[HTTP, TLS]),
    _entry("two-addresses", hosts=["a.example.com"], addresses=["192.0.2.1", "192.0.2.2"], ports=[TLS]),
    _entry("ranges", hosts=["a.example.com"], addresses=["192.0.2.0/24"], ports=[HTTP, TLS]),
    _entry("two-hosts", hosts=["a.example.com", "b.example.com"], addresses=["192.0.2.1"], ports=[TLS]),
]
CLUSTERS = {case.name: [case.manifest(), *case.beside] for case in CASES if case.codes & TELLING}
CLUSTERS |= {one["metadata"]["name"]: [one] for one in OWN}


def _pairs() -> list[Any]:
    return [
        pytest.param(cluster, remedy, id=f"{name}: {remedy.says}")
        for name, cluster in CLUSTERS.items()
        for remedy in REMEDIES
        if {*remedy.codes} & _codes(cluster) and remedy.followed(cluster)
    ]


def _codes(cluster: list[Manifest]) -> set[str]:
    """The codes of what keeps the first entry of a cluster from becoming DNS."""
    reviewed = change(cluster, POLICY, World.REPORTED).reviewed
    return {finding.code for finding in reviewed[0].findings} & TELLING


@pytest.mark.parametrize(("cluster", "remedy"), _pairs())
def test_no_remedy_leads_into_a_harm(generator: Generator, cluster: list[Manifest], remedy: Remedy) -> None:
    followed = remedy.followed(cluster)
    assert followed
    before = change([*cluster, *remedy.beside], POLICY, World.REPORTED).before
    made = change(followed, POLICY)
    assert len(made.before) == len(followed), "the guard refuses what it tells authors to write"
    facts = Facts.read(made.after, POLICY)
    trial = Trial(generator, before, made.after, facts, counts=remedy.counts(followed[0]["spec"]))
    compared = trial.compare()
    assert compared.after.rejected == ()
    assert compared.before.rejected or [str(harm) for harm in trial.persistent(compared)] == []


def test_of_several_addresses_each_is_reached_in_an_entry_of_its_own(generator: Generator) -> None:
    addresses = ["192.0.2.1", "192.0.2.2"]
    before = [_entry("both", hosts=["a.example.com"], addresses=addresses, ports=[TLS])]
    apart = [
        _entry(
            f"of-{number}",
            hosts=[f"a{number}.example.com"],
            addresses=[address],
            ports=[TLS],
            resolution="STATIC",
            endpoints=[{"address": address}],
        )
        for number, address in enumerate(addresses)
    ]
    made = change(apart, POLICY)
    counts = at_addresses(addresses)
    trial = Trial(generator, before, made.after, Facts.read(made.after, POLICY), counts=counts)
    compared = trial.compare()
    assert [str(harm) for harm in trial.persistent(compared)] == []


def test_every_finding_that_keeps_an_entry_from_dns_has_a_remedy_that_is_tried() -> None:
    tried = {code for remedy in REMEDIES for code in remedy.codes}
    assert tried == TELLING
    for remedy in REMEDIES:
        for code in remedy.codes:
            assert remedy.says in CATALOGUE[code].remedy
