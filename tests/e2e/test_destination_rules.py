"""DestinationRules, where the policy asks for them, are emitted, repaired, pruned and yielded as VirtualServices."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from app.kube.client import Object
from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.team import DESTINATION_RULES, Team

pytestmark = pytest.mark.e2e

TLS = {"number": 443, "name": "tls", "protocol": "TLS"}
POLICY = {
    "apiVersion": "serviceentry-guard.io/v1alpha1",
    "kind": "GuardPolicy",
    "destinationRule": {"enabled": True, "connectionPool": {"tcp": {"maxConnectionDuration": "5m"}}},
}
POOL = {"http": {"idleTimeout": "50s"}, "tcp": {"maxConnectionDuration": "5m"}}


@pytest.fixture
def pooled(loner: Team, tmp_path: Path) -> Iterator[Team]:
    """A team with an entry of TLS only, and a controller whose policy asks for DestinationRules."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    with Controller(loner.control_plane, tmp_path, [f"--policy={policy}", "--no-leader-elect"]):
        loner.store(loner.entry(ports=[TLS]))
        expect(loner, {loner.host(): {"host": loner.host(), "trafficPolicy": {"connectionPool": POOL}}})
        yield loner


def rules(team: Team) -> dict[str, Object]:
    items = team.client.list_page(DESTINATION_RULES, team.namespace).items
    return {item["metadata"]["name"]: item["spec"] for item in items}


def expect(team: Team, wanted: dict[str, Object]) -> None:
    """Wait until exactly these DestinationRules are there."""
    with suppress(TimeoutError):
        wait_until(lambda: rules(team) == wanted, "they are there")
    assert rules(team) == wanted


def edit_spec(team: Team) -> None:
    change = [{"op": "replace", "path": "/spec/trafficPolicy", "value": {"loadBalancer": {"simple": "RANDOM"}}}]
    team.client.json_patch(DESTINATION_RULES, team.namespace, team.host(), change)


def add_field(team: Team) -> None:
    team.kubectl(
        "patch", "destinationrules", team.host(), "--type=merge",
        '--patch={"spec": {"trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}}',
    )  # fmt: skip


def remove(team: Team) -> None:
    team.delete(team.host(), DESTINATION_RULES)


@pytest.mark.parametrize("damage", [edit_spec, add_field, remove])
def test_one_that_is_edited_or_deleted_by_hand_is_put_back(pooled: Team, damage: Callable[[Team], None]) -> None:
    right = rules(pooled)
    damage(pooled)
    expect(pooled, right)


def test_one_goes_with_its_entry(pooled: Team) -> None:
    pooled.delete("api")
    expect(pooled, {})


def test_ours_yields_to_one_of_another_hand_and_comes_back_when_that_goes(pooled: Team) -> None:
    right = rules(pooled)
    theirs = {"host": f"*.{pooled.namespace}.example.com", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}
    metadata = {"name": "theirs", "namespace": pooled.namespace}
    manifest = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata, "spec": theirs}
    pooled.client.create(DESTINATION_RULES, manifest)
    expect(pooled, {"theirs": theirs})
    wait_until(lambda: any("DestinationRule" in note for note in pooled.conflict_notes()), "an Event says so")
    pooled.delete("theirs", DESTINATION_RULES)
    expect(pooled, right)


def test_an_entry_without_an_http_port_gets_one_without_a_virtual_service(pooled: Team) -> None:
    pooled.expect()
