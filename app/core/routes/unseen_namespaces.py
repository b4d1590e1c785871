"""Namespaces whose labels would say which waypoint serves an entry, and that are not among the manifests."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from app.core.resources.namespaces import Namespace, is_namespace, waypoint_of
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.survey import Reviewed, Sourced


def unseen_namespaces(documents: Iterable[Sourced], reviewed: Iterable[Reviewed]) -> Sequence[str]:
    """Return the namespaces whose labels are missing; none if nothing in the input is about an ambient mesh."""
    known = defaultdict[str, dict[str, Namespace]](dict)
    for one in documents:
        if is_namespace(one.manifest):
            namespace = Namespace.parse(one.manifest)
            known[one.cluster][namespace.name] = namespace
    pairs = [(one.entry, known.get(one.origin.cluster, {})) for one in reviewed]
    labelled = any(each.in_ambient for spaces in known.values() for each in spaces.values())
    if not (labelled or any(entry.ambient.waypoint or entry.ambient.bound for entry, _ in pairs)):
        return ()
    return sorted({name for entry, spaces in pairs for name in _deciding(entry, spaces) if name not in spaces})


def _deciding(entry: ServiceEntry, spaces: dict[str, Namespace]) -> Iterable[str]:
    """Yield the namespaces whose labels decide what is emitted for an entry."""
    if not entry.ambient.waypoint:
        yield entry.key.namespace
    if waypoint := waypoint_of(entry, spaces.get(entry.key.namespace)):
        yield waypoint.namespace
