"""The controller's view of entries that share a host or a waypoint, in one process and without an API server."""

from pathlib import Path
from typing import Any

from app.controller.inventory import Inventory
from app.controller.siblings import Siblings
from app.controller.verdict_cache import VerdictCache
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import ServiceEntry
from app.policyfile import PolicyFile

GATEWAYS = {"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "gateways"}
"""Labels that bind an entry, or a namespace, to one waypoint."""


class Cluster:
    """What the controller observes, in one process."""

    def __init__(self, *stored: ServiceEntry, policy: Path | None = None) -> None:
        self.inventory, self.policy = Inventory(), PolicyFile(policy, lambda _taken: None)
        self.judge = VerdictCache(at_waypoint=self.inventory.at_waypoint)
        self.siblings = Siblings(self.inventory, self.judge, self.policy)
        self.stored = {one.key: one for one in stored}
        for one in stored:
            self.inventory.put_entry(None, one)
        self.siblings.recount(stored)
        self.inventory.touched()

    def put(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[str]:
        """Deliver a change of an entry; returns the names of the entries to look at again."""
        for one in filter(None, (old, new)):
            self.stored.pop(one.key, None)
        if new:
            self.stored[new.key] = new
        self.inventory.put_entry(old, new)
        again = self.siblings.changed(old, new)
        self._touch()
        return frozenset(key.name for key in again)

    def label(self, namespace: str, labels: Any) -> None:
        """Deliver the labels of a namespace."""
        self.inventory.put_namespace(namespace, Namespace.parse({"metadata": {"name": namespace, "labels": labels}}))
        self._touch()

    def restored(self, entry: ServiceEntry, document: Any = None) -> str:
        """Return the resolution that an entry gets, "" if it keeps its own."""
        patch = self.siblings.repair(entry, document)
        return patch[0]["value"] if patch else ""

    def decided(self, entry: ServiceEntry) -> str:
        """Return the resolution that the guard wants for an entry as it is stored."""
        patch = self.judge(entry, self.policy.current).patch
        return patch[0]["value"] if patch else entry.resolution

    def _touch(self) -> None:
        self.siblings.at_waypoints([self.stored[key] for key in self.inventory.touched() if key in self.stored])
