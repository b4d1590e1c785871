"""Who sees what is emitted for a host: what the tests of it share."""

from typing import Any

from app.core.policy.model import GuardPolicy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import Plan, desired
from app.core.rules.findings import Finding
from tests.builders import HOST, guard_policy

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
