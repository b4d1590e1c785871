"""Who owns which field of an object: server-side apply, as far as the controller and other clients need it.

An object is a set of leaves, by their paths. Lists are leaves, as in Istio's CRDs; of the metadata, ownerReferences are
a map by UID and finalizers a set, as in every Kubernetes API.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]
Manager = tuple[str, str]
"""The name of a field manager, and its operation: Apply or Update."""
IDENTITY = frozenset({"apiVersion", "kind"})
SYSTEM = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"}
) | {"deletionTimestamp"}
"""Fields of the metadata that the API server sets itself."""


class FieldConflict(Exception):
    """Other managers own fields with other values."""


@dataclass(frozen=True, slots=True)
class Owned:
    """The leaves of an object, and the paths that each manager owns, with the time of its last write."""

    leaves: Mapping[Path, Any] = field(default_factory=dict)
    owners: Mapping[Manager, frozenset[Path]] = field(default_factory=dict)
    times: Mapping[Manager, str] = field(default_factory=dict)

    def apply(self, manager: str, manifest: Object, now: str, *, force: bool) -> "Owned":
        """Apply server-side. Raises FieldConflict."""
        me, applied = (manager, "Apply"), leaves(manifest)
        changed = {path for path in applied if self.leaves.get(path, self) != applied[path]}
        owners = dict(self.owners)
        for other in owners.keys() - {me}:
            if clash := owners[other] & changed:
                if not force:
                    raise FieldConflict(f"conflict with {other[0]}: {sorted(clash)}")
                owners[other] -= clash
        dropped = owners.get(me, frozenset()) - applied.keys()
        dropped -= {path for other in owners.keys() - {me} for path in owners[other]}
        kept = {path: value for path, value in self.leaves.items() if path not in dropped}
        return self._stored(me, {**kept, **applied}, {**owners, me: frozenset(applied)}, now)

    def update(self, manager: str, manifest: Object, now: str) -> "Owned":
        """Replace the object, by a create, an update or a patch."""
        me, after = (manager, "Update"), leaves(manifest)
        changed = {path for path in after if self.leaves.get(path, self) != after[path]}
        gone = self.leaves.keys() - after.keys()
        owners = {other: paths - changed - gone for other, paths in self.owners.items()}
        owners[me] = owners.get(me, frozenset()) | changed
        return self._stored(me, after, owners, now)

    def _stored(
        self, me: Manager, after: Mapping[Path, Any], owners: Mapping[Manager, frozenset[Path]], now: str
    ) -> "Owned":
        owners = {manager: paths for manager, paths in owners.items() if paths}
        if after == self.leaves and owners == self.owners:
            return self  # a write that changes nothing has no effect at all
        return Owned(after, owners, {**self.times, me: now})

    def managed_fields(self, api_version: str) -> list[Object]:
        """Return metadata.managedFields."""
        return [
            {
                "manager": manager[0],
                "operation": manager[1],
                "apiVersion": api_version,
                "time": self.times[manager],
                "fieldsType": "FieldsV1",
                "fieldsV1": _fields(paths),
            }
            for manager, paths in sorted(self.owners.items())
        ]


def leaves(manifest: Object) -> dict[Path, Any]:
    """Return the leaves of a manifest, without its identity."""
    found = {name: value for name, value in manifest.items() if name not in IDENTITY}
    metadata = {name: value for name, value in found.pop("metadata", {}).items() if name not in SYSTEM}
    owners = {one["uid"]: json.dumps(one, sort_keys=True) for one in metadata.pop("ownerReferences", [])}
    finalizers = dict.fromkeys(metadata.pop("finalizers", []), True)
    lists = {"ownerReferences": owners, "finalizers": finalizers}
    present = {**metadata, **{name: value for name, value in lists.items() if value}}
    return dict(_leaves({**found, "metadata": present}, ()))


def tree(found: Mapping[Path, Any]) -> Object:
    """Return the manifest with these leaves."""
    root: Object = {}
    for path, value in found.items():
        at = root
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = value
    metadata = root.setdefault("metadata", {})
    if owners := metadata.pop("ownerReferences", {}):
        metadata["ownerReferences"] = [json.loads(one) for one in owners.values()]
    if finalizers := metadata.pop("finalizers", {}):
        metadata["finalizers"] = list(finalizers)
    return root


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and (value or len(path) < 2 or path[0] == "metadata"):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif path:
        yield path, value


def _fields(paths: frozenset[Path]) -> Object:
    root: Object = {}
    for path in sorted(paths):
        at = root
        for name in path:
            at = at.setdefault(f"f:{name}", {})
    return root
