"""What must hold: of each write while it is made, and of everything that is stored once the controller is at rest."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from app.controller.inventory import Inventory
from app.controller.pod_files import SIBLINGS, siblings_document
from app.controller.siblings import Siblings
from app.controller.verdict_cache import VerdictCache
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import MANAGED_BY, MANAGER, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import changes, desired
from app.kube.client import Client
from app.kube.errors import ApiError
from app.kube.events import EVENT
from app.kube.resources import CONFIG_MAPS, EMITTED, HTTP_ROUTES, LEASES, NAMESPACES, REPORTS, SERVICE_ENTRIES, Resource
from app.settings import LEASE_NAME
from tests.model.fields import Object, leaves
from tests.model.replica import CONFIG_MAP, NAMESPACE, Policies, Replica
from tests.model.storage import Stored

OWN: Mapping[Resource, tuple[str, str]] = {LEASES: (NAMESPACE, LEASE_NAME), CONFIG_MAPS: (NAMESPACE, CONFIG_MAP)}
"""Resources of which the controller writes one object."""


def may_write(before: Stored | None, after: Stored | None) -> str:
    """Say why a replica may not make this write, "" if it may."""
    stored = after or before
    assert stored
    resource, namespace, name = stored.place
    if resource in OWN:
        return "" if OWN[resource] == (namespace, name) else f"{resource.kind} {namespace}/{name} is not the guard's"
    if resource == SERVICE_ENTRIES:
        return _only_resolution(before, after)
    if resource == EVENT:
        return "an Event was changed" if before else ""
    if resource in {*EMITTED.values(), *REPORTS}:
        ours = before is None or before.labels.get(MANAGED_BY) == MANAGER
        return "" if ours else f"{resource.kind} {namespace}/{name} is of others"
    return f"{resource.kind} {namespace}/{name} is nothing that the guard writes"


def _only_resolution(before: Stored | None, after: Stored | None) -> str:
    if not (before and after):
        return "a ServiceEntry was created or deleted"
    old, new = before.owned.leaves, after.owned.leaves
    changed = {path for path in {*old, *new} if old.get(path) != new.get(path)}
    return "" if changed == {("spec", "resolution")} else f"fields of a ServiceEntry were changed: {changed}"


class Found:
    """Everything that is stored, read as another client reads it."""

    def __init__(self, client: Client, namespaces: Iterable[str]) -> None:
        self.namespaces = tuple(namespaces)
        self._client = client
        self.entries = [ServiceEntry.parse(each) for each in self._all(SERVICE_ENTRIES)]
        self.objects = [each for resource in (*EMITTED.values(), HTTP_ROUTES) for each in self._all(resource)]
        self.observed = [Observed.parse(each) for each in self.objects]
        self.labels = [Namespace.parse(each) for each in self._all(NAMESPACES)]

    def _all(self, resource: Resource) -> list[Object]:
        try:
            items = self._client.list_page(resource, limit=0).items
        except ApiError:
            return []
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [{**kind, **each} for each in items]

    def config_map(self) -> str | None:
        """Return what the webhook would read."""
        try:
            text: str = self._client.get(CONFIG_MAPS, NAMESPACE, CONFIG_MAP)["data"][SIBLINGS]
        except ApiError:
            return None
        return text


def check_objects(found: Found, policies: Policies) -> None:
    """The objects are those that the core wants, and each is exactly as it wants it."""
    plan = desired(found.entries, policies.current, found.observed, found.labels)
    left = changes(plan, found.observed)
    assert not left.apply, f"not written: {[(one.kind, str(one.key)) for one, _ in left.apply]}"
    stored = {_place(each): each for each in found.objects}
    kept = [one for one in left.delete if not _ending(stored[one.kind, one.key.namespace, one.key.name])]
    assert not kept, f"not deleted: {[(one.kind, str(one.key)) for one in kept]}"
    for emitted in plan.objects:
        have = leaves(stored[emitted.kind, emitted.key.namespace, emitted.key.name])
        for path, value in leaves(dict(emitted.manifest)).items():
            assert have.get(path) == value, f"{emitted.kind} {emitted.key}: {path} is {have.get(path)!r}, not {value!r}"
        extra = {path for path in have if path[0] == "spec"} - leaves(dict(emitted.manifest)).keys()
        assert not extra, f"{emitted.kind} {emitted.key} has {extra}"


def check_siblings(found: Found, replica: Replica) -> None:
    """The webhook knows the entries that keep their resolution, none is left that the policy wants patched.

    The metrics of a replica count the findings of the entries as they are stored.
    """
    policies = replica.policies
    inventory = Inventory(policies.current)
    for namespace in found.labels:
        inventory.put_namespace(namespace.name, namespace)
    for entry in found.entries:
        inventory.put_entry(None, entry)
    judge = VerdictCache(at_waypoint=inventory.at_waypoint)
    siblings = Siblings(inventory, judge, policies)
    siblings.recount(found.entries)
    siblings._put_back = {}  # what a controller that starts would put back was decided by the one that ran
    left = [str(entry.key) for entry in found.entries if siblings.repair(entry, None)]
    assert not left, f"not remediated: {left}"
    assert found.config_map() == siblings_document(siblings.standing())
    judged = ((entry.key.namespace, code) for entry in found.entries for code in judge(entry, policies.current).codes)
    assert replica.manager._gauges.findings() == Counter(judged)


def _ending(manifest: Object) -> bool:
    """Say whether an object was deleted, and waits for the owner of a finalizer."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def _place(manifest: Any) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata["namespace"], metadata["name"]
