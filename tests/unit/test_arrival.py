"""The order in which entries are created makes no difference to what the guard makes of them in the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.resources.service_entry import ServiceEntry
from app.core.rules.patch import apply_patch
from app.core.rules.siblings import beside
from app.core.rules.verdict import review
from tests import builders
from tests.builders import HTTP, TCP, applied
from tests.depth import examples
from tests.unit.siblings_cluster import GATEWAYS, Cluster

ROUNDS = 20
"""More than enough until the controller has nothing left to restore."""
POLICY = "{apiVersion: serviceentry-guard.io/v1alpha1, kind: GuardPolicy, resolution: {splitHosts: DNS}}"
"""Entries that declare different ports are the documented exception (docs/how-it-works.md): here they are none."""


@st.composite
def clusters(draw: st.DrawFn) -> list[Any]:
    """A few entries of two namespaces, some of which share a host or a waypoint, as `kubectl apply` sends them."""
    manifests = []
    for number in range(draw(st.integers(2, 5))):
        host = draw(st.sampled_from(["a.example.com", "b.example.com"]))
        other = draw(st.sampled_from([[], [], ["a.example.com"]]))
        one = builders.manifest(
            f"entry-{number}",
            draw(st.sampled_from(["team", "reports"])),
            labels=draw(st.sampled_from([{}, GATEWAYS, {"istio.io/use-waypoint": "none"}])),
            hosts=sorted({host, *other}),
            ports=[draw(st.sampled_from([HTTP, HTTP, TCP]))],
            resolution=draw(st.sampled_from(["NONE", "NONE", "NONE", "DNS"])),
        )
        manifests.append(one)
    return manifests


class Guarded:
    """A cluster whose webhook knows what the controller told it before, and whose controller then acts."""

    def __init__(self, policy: Path) -> None:
        self.cluster = Cluster(policy=policy)
        self._policy = self.cluster.policy.current
        self._documents = dict[Any, Any]()

    def apply(self, manifest: Any) -> None:
        """Create an entry as `kubectl apply` does; the webhook may refuse it."""
        entry = ServiceEntry.parse(manifest)
        verdict = beside(review(entry, self._policy), entry, self.cluster.siblings.standing(), self._policy)
        if verdict.allowed:
            self._store(None, apply_patch(applied(manifest), verdict.patch))
        for _ in range(ROUNDS):
            if not self._act():
                return
        raise AssertionError("the controller never comes to rest")

    @property
    def resolutions(self) -> dict[str, str]:
        """What is stored."""
        return {entry.key.name: entry.resolution for entry in self.cluster.stored.values()}

    def _act(self) -> bool:
        """Patch what the controller wants patched; say whether it was anything."""
        acted = False
        for key, entry in list(self.cluster.stored.items()):
            document = self._documents[key]
            if patch := self.cluster.siblings.repair(entry, document):
                changed = apply_patch(document, tuple(patch))
                acted |= self._update(entry, changed)
        return acted

    def _update(self, old: ServiceEntry, manifest: Any) -> bool:
        """Say whether the webhook leaves an update of the controller as it is."""
        new = ServiceEntry.parse(manifest)
        verdict = beside(review(new, self._policy), new, self.cluster.siblings.standing(), self._policy, old)
        if verdict.patch or not verdict.allowed:
            return False
        self._store(old, manifest)
        self.cluster.siblings.patched(new)
        return True

    def _store(self, old: ServiceEntry | None, manifest: Any) -> None:
        new = ServiceEntry.parse(manifest)
        self._documents[new.key] = manifest
        self.cluster.put(old, new)


def together(manifests: Sequence[Any], policy: Path) -> dict[str, str]:
    """What the guard makes of entries that it sees all at once, as their authors wrote them."""
    cluster = Cluster(*map(ServiceEntry.parse, manifests), policy=policy)
    return {entry.key.name: cluster.decided(entry) for entry in cluster.stored.values()}


@settings(max_examples=examples(500))
@given(manifests=clusters())
def test_the_order_in_which_entries_come_makes_no_difference(
    manifests: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    policy = tmp_path_factory.getbasetemp() / "arrival.yaml"
    policy.write_text(POLICY)
    guarded = Guarded(policy)
    for manifest in manifests:
        guarded.apply(manifest)
    stored = [each for each in manifests if each["metadata"]["name"] in guarded.resolutions]
    assert guarded.resolutions == together(stored, policy)
