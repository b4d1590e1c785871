"""Whatever is emitted, the API server stores it: schema, validation rules and names."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.plan import desired
from tests.bed.control_plane import ControlPlane
from tests.depth import examples
from tests.strategies import manifests, policies

pytestmark = [pytest.mark.e2e, pytest.mark.generated]

EXAMPLES = examples(600)


def resolve(manifest: dict[str, Any]) -> None:
    """Make it an entry for which something is emitted, if its hosts and the policy allow it."""
    spec = manifest["spec"]
    spec["resolution"] = "DNS"
    spec["ports"].append({"number": 80, "name": "http", "protocol": "HTTP"})


def generated(namespace: str) -> list[dict[str, Any]]:
    """What is emitted for entries and policies of all kinds, moved to one namespace."""
    found: list[dict[str, Any]] = []

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(manifest=manifests(), policy=policies())
    def emit(manifest: dict[str, Any], policy: GuardPolicy) -> None:
        resolve(manifest)
        emitted = [one.manifest for one in desired([ServiceEntry.parse(manifest)], policy).objects]
        found.extend({**one, "metadata": {**one["metadata"], "namespace": namespace}} for one in emitted)

    emit()
    return found


def test_the_api_server_takes_every_object_that_can_be_emitted(control_plane: ControlPlane, namespace: str) -> None:
    objects = generated(namespace)
    assert sum(one["kind"] == "VirtualService" for one in objects) > EXAMPLES / 4
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    dry_run = ("create", "--dry-run=server", "--validate=strict", "--output=name", "--filename=-")
    taken = control_plane.kubectl(*dry_run, stdin=manifest)
    assert len(taken.stdout.splitlines()) == len(objects)
