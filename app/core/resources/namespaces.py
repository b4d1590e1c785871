"""The labels of a namespace, as far as a rule reads them: ambient or sidecars, and the waypoint of its entries."""

from app.core.resources.ambient import DATAPLANE_MODE, INJECTION, NOTHING, Ambient, text
from app.core.resources.fields import JSON, Fields
from app.core.resources.records import Record
from app.core.resources.service_entry import REVISION_LABEL, Key, ServiceEntry


class Namespace(Record):
    """A namespace."""

    name: str
    ambient: bool = False
    """Whether ztunnel carries the traffic of its Pods."""
    injected: bool = False
    """Whether Pods get a sidecar: as the labels istio-injection and istio.io/rev say."""
    labels: Ambient = NOTHING
    """The waypoint of its entries."""

    @classmethod
    def parse(cls, manifest: JSON) -> "Namespace":
        """Read a Namespace, or the metadata of one. Never raises."""
        meta = Fields(manifest, "").child("metadata")
        labels = meta.values.get("labels")
        return cls(
            meta.text("name"),
            text(labels, DATAPLANE_MODE) == "ambient",
            text(labels, INJECTION) == "enabled" or bool(text(labels, REVISION_LABEL)),
            Ambient.read(labels),
        )

    @property
    def in_ambient(self) -> bool:
        """Whether its labels say anything of an ambient mesh."""
        return self.ambient or bool(self.labels.waypoint)


def is_namespace(manifest: JSON) -> bool:
    """Say whether a manifest is a Kubernetes Namespace."""
    return isinstance(manifest, dict) and (manifest.get("apiVersion"), manifest.get("kind")) == ("v1", "Namespace")


def waypoint_of(entry: ServiceEntry, namespace: Namespace | None) -> Key | None:
    """Return the waypoint that serves an entry, if any; `namespace` is its own, None if its labels are unknown."""
    if entry.ambient.refused:
        return None
    for labels in (entry.ambient, *((namespace.labels,) if namespace else ())):
        if labels.waypoint:
            return None if labels.opted_out else Key(labels.namespace or entry.key.namespace, labels.waypoint)
    return Key(*entry.ambient.bound.split("/", 1)) if entry.ambient.bound else None
