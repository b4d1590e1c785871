"""Which ServiceEntries a proxy knows: those exported to its namespace, less what a Sidecar resource leaves out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.core.resources.hosts import canonical_host, covers
from app.core.resources.service_entry import JSON, Fields, Key

ROOT_NAMESPACE = "istio-system"
"""Where the Sidecar for all namespaces without one of their own is, unless meshConfig.rootNamespace says otherwise."""
ANY, OWN = "*", "."


@dataclass(frozen=True, slots=True)
class Import:
    """What a Sidecar takes from a namespace (`*`: from each): the hosts that a pattern covers."""

    namespace: str
    host: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A networking.istio.io Sidecar; without `imports` it leaves nothing out, without `labels` it is for all pods."""

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
        """Say whether it is for a pod with these labels."""
        return all(labels.get(name) == value for name, value in self.labels)

    def takes(self, namespace: str, host: str) -> bool:
        """Say whether it lets a proxy know a host of an entry of a namespace."""
        if self.imports is None:
            return True
        return any(
            one.namespace in {ANY, namespace} and (one.host == ANY or covers(one.host, host)) for one in self.imports
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Proxies that know the same entries: how many, in which namespace (`*`: of any), under which Sidecar."""

    namespace: str
    proxies: int
    sidecar: Sidecar | None = None


def group(pods: Iterable[tuple[str, Mapping[str, str]]], sidecars: Iterable[Sidecar]) -> tuple[Group, ...]:
    """Group the pods that have a proxy, each a namespace and labels, by the Sidecar that counts for them."""
    by_namespace: dict[str, list[Sidecar]] = {}
    for one in sorted(sidecars, key=lambda one: str(one.key)):
        by_namespace.setdefault(one.key.namespace, []).append(one)
    counts = Counter((namespace, _for(namespace, labels, by_namespace)) for namespace, labels in pods)
    return tuple(Group(namespace, number, sidecar) for (namespace, sidecar), number in counts.items())


def _for(namespace: str, labels: Mapping[str, str], sidecars: Mapping[str, list[Sidecar]]) -> Sidecar | None:
    """Return the Sidecar of a pod: one that selects it, else that of its namespace, else that of the root namespace."""
    own = sidecars.get(namespace, [])
    selecting = [one for one in own if one.labels and one.selects(labels)]
    root = [one for one in sidecars.get(ROOT_NAMESPACE, []) if not one.labels]
    return next(iter([*selecting, *(one for one in own if not one.labels), *root]), None)


def _import(host: str, own: str) -> Import:
    namespace, _, name = host.rpartition("/")
    return Import(own if namespace == OWN else namespace or ANY, canonical_host(name))
