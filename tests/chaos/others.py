"""Objects of others, beside those of the guard: whatever happens, they stay exactly as they are."""

from contextlib import suppress
from typing import Any

from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists
from app.kube.resources import EMITTED
from tests.e2e.team import Team

Identity = tuple[str, str, str, str]


def pool(namespace: str) -> list[str]:
    """The hosts of a namespace. Its entries share them."""
    return [f"{label}.{namespace}.example.com" for label in ("one", "two", "three", "four", "claimed", "named")]


def shared_hosts() -> list[str]:
    """Hosts that entries of all namespaces name."""
    return ["shared-one.example.com", "shared-two.example.com"]


def store_others(team: Team) -> None:
    """Store one VirtualService that claims a host of the pool, and one that has the name that ours would have."""
    *_, claimed, named = pool(team.namespace)
    for name, host in (("of-another-team", claimed), (named, f"unrelated.{team.namespace}.example.com")):
        with suppress(AlreadyExists):  # the name is ours by now, where the other object was gone for a while
            team.store(team.foreign(name, host))


def others(client: Client) -> dict[Identity, Any]:
    """All objects of the emitted kinds that are not the guard's, without what a server may change by itself."""
    found = {}
    for resource in EMITTED.values():
        for item in client.list_page(resource).items:
            metadata = item["metadata"]
            if "app.kubernetes.io/managed-by" not in metadata.get("labels", {}):
                identity = (resource.kind, metadata["namespace"], metadata["name"], metadata["uid"])
                found[identity] = _content(item)
    return found


def _content(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {"metadata": metadata, "spec": item.get("spec")}
