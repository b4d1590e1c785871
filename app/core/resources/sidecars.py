"""The ServiceEntries that a proxy knows: those exported to its namespace, as far as a Sidecar resource imports them."""

from collections import Counter
from collections.abc import Iterable, Mapping

from app.core.resources.fields import JSON, Fields
from app.core.resources.hosts import canonical_host, covers
from app.core.resources.records import Record
from app.core.resources.service_entry import Key

ROOT_NAMESPACE = "istio-system"
"""The namespace of the default Sidecar, unless meshConfig.rootNamespace says otherwise."""
ANY, OWN = "*", "."


class Import(Record):
    """An import of a Sidecar: the hosts that a pattern covers, from a namespace (`*`: from all)."""

    namespace: str
    host: str


class Sidecar(Record):
    """A networking.istio.io Sidecar; without `imports` it imports all, without `labels` it applies to all pods."""

    key: Key
    labels: tuple[tuple[str, str], ...] = ()
    imports: tuple[Import, ...] | None = None

    @classmethod
    def parse(cls, manifest: JSON, namespace: str = "default") -> "Sidecar":
        """Read a manifest. Never raises."""
        root = Fields(manifest, "")
        meta, spec = root.child("metadata"), root.child("spec")
        key = Key(meta.text("namespace") or namespace, meta.text("name"))
        labels = spec.child("workloadSelector").child("labels")
        hosts = [host for listener in spec.children("egress") for host in listener.texts("hosts")]
        imports = tuple(_import(host, key.namespace) for host in hosts)
        return cls(key, tuple(sorted((name, labels.text(name)) for name in labels.values)), imports or None)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Say whether it applies to a pod with these labels."""
        return all(labels.get(name) == value for name, value in self.labels)

    def takes(self, namespace: str, host: str) -> bool:
        """Say whether it imports a host of an entry in a namespace."""
        if self.imports is None:
            return True
        return any(
            part.namespace in {ANY, namespace} and (part.host == ANY or covers(part.host, host))
            for part in self.imports
        )


class Group(Record):
    """Proxies that know the same entries: their number, their namespace (`*`: any), and their Sidecar."""

    namespace: str
    proxies: int
    sidecar: Sidecar | None = None


def group(pods: Iterable[tuple[str, Mapping[str, str]]], sidecars: Iterable[Sidecar]) -> tuple[Group, ...]:
    """Group the pods with a proxy, each a namespace and labels, by their Sidecar."""
    by_namespace: dict[str, list[Sidecar]] = {}
    for sidecar in sorted(sidecars, key=lambda sidecar: str(sidecar.key)):
        by_namespace.setdefault(sidecar.key.namespace, []).append(sidecar)
    counts = Counter((namespace, _for(namespace, labels, by_namespace)) for namespace, labels in pods)
    return tuple(Group(namespace, number, sidecar) for (namespace, sidecar), number in counts.items())


def _for(namespace: str, labels: Mapping[str, str], sidecars: Mapping[str, list[Sidecar]]) -> Sidecar | None:
    """Return the Sidecar of a pod: one that selects it, else that of its namespace, else that of the root namespace."""
    own = sidecars.get(namespace, [])
    selecting = [sidecar for sidecar in own if sidecar.labels and sidecar.selects(labels)]
    root = [sidecar for sidecar in sidecars.get(ROOT_NAMESPACE, []) if not sidecar.labels]
    return next(iter([*selecting, *(each for each in own if not each.labels), *root]), None)


def _import(host: str, own: str) -> Import:
    namespace, _, name = host.rpartition("/")
    return Import(own if namespace == OWN else namespace or ANY, canonical_host(name))
