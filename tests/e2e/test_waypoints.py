"""The labels of namespaces, as the controller follows them: what is emitted reaches the waypoint of an ambient mesh."""

from typing import Any

import pytest

from app.core.routes.virtual_service import SEMANTICS
from tests.bed.processes import wait_until
from tests.e2e.team import NAMESPACES, SECONDS, Team

pytestmark = pytest.mark.e2e

STRATEGY = {"istio.io/connect-strategy": "RACE_FIRST_CONNECT"}


def bound_to(namespace: str) -> dict[str, Any]:
    """Labels that bind entries to a waypoint in a namespace."""
    return {"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": namespace}


def label(team: Team, namespace: str, **labels: str | None) -> None:
    """Change labels of a namespace; None removes one."""
    pairs = (f"{name}={value}" if value is not None else f"{name}-" for name, value in labels.items())
    team.kubectl("label", "namespace", namespace, "--overwrite", *pairs)


def expect_seen_by(team: Team, *names: str) -> None:
    """Wait until these namespaces see the VirtualService."""

    def seen() -> bool:
        return list(team.virtual_service()["spec"]["exportTo"]) == list(names)

    wait_until(seen, f"exportTo is {names}", SECONDS)


@pytest.fixture
def gateways(team: Team) -> str:
    """A namespace for waypoints, without sidecars."""
    name = f"{team.namespace}-gateways"
    team.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def test_the_virtual_service_follows_the_labels_of_namespaces(team: Team, gateways: str) -> None:
    team.store(team.entry(exportTo=["."]))
    team.expect(team.host())
    expect_seen_by(team, ".")
    label(team, team.namespace, **bound_to(gateways))
    expect_seen_by(team, ".", gateways)
    assert SEMANTICS not in team.virtual_service()["metadata"]["annotations"]
    label(team, gateways, **{"istio-injection": "enabled"})
    wait_until(
        lambda: SEMANTICS in team.virtual_service()["metadata"]["annotations"], "sidecars are kept out of it", SECONDS
    )
    label(team, gateways, **{"istio-injection": None})
    wait_until(
        lambda: SEMANTICS not in team.virtual_service()["metadata"]["annotations"], "there are none any more", SECONDS
    )
    label(team, team.namespace, **dict.fromkeys(bound_to(gateways)))
    expect_seen_by(team, ".")


def test_labels_and_the_connect_strategy_of_an_entry_survive(team: Team, gateways: str) -> None:
    labels = bound_to(gateways)
    metadata = {"labels": {**labels, "app": "partner"}, "annotations": STRATEGY}
    team.store(team.entry(metadata=metadata, resolution="NONE", exportTo=["."]))
    team.expect(team.host())
    stored = team.stored()
    assert stored["spec"]["resolution"] == "DNS"
    assert stored["metadata"]["labels"] == metadata["labels"]
    assert stored["metadata"]["annotations"].items() >= STRATEGY.items()
    expect_seen_by(team, ".", gateways)
