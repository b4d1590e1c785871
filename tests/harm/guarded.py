"""A cluster with the guard and without it: which objects Istio sees, in each of the ways to come to that state."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from app.core.policy.model import GuardPolicy
from app.core.resources.kinds import is_service_entry
from app.core.routes.survey import Reviewed, Sourced, survey
from tests.harm.protocol import Manifest

EARLY = "2020-01-01T00:00:00Z"
LATE = "2027-01-01T00:00:00Z"


class World(Enum):
    """How the objects came to be stored."""

    ADMITTED = "every entry is written through the webhook; what it refuses is not there"
    REMEDIATED = "every entry was there before the guard, which changes those that it can"
    REPORTED = "every entry was there before the guard, which changes none, and emits for those that are resolved"


@dataclass(frozen=True, slots=True)
class Change:
    """The objects of a cluster before and after the guard; `emitted` is the part that the guard wrote itself."""

    before: Sequence[Manifest]
    after: Sequence[Manifest]
    emitted: Sequence[Manifest]
    reviewed: Sequence[Reviewed]

    @property
    def overwritten(self) -> list[str]:
        """The objects of others that the guard would write over."""
        others = {_place(one) for one in self.before}
        return ["{} {}/{}".format(*place) for one in self.emitted if (place := _place(one)) in others]


def change(
    documents: Iterable[Manifest], policy: GuardPolicy, world: World = World.ADMITTED, emitted_at: str = LATE
) -> Change:
    """Say what the guard makes of a cluster. Objects without a creationTimestamp are as old as their place says."""
    stored = list({_place(one): one for one in _dated(documents)}.values())
    if world is World.ADMITTED:
        stored = _accepted(stored, policy)
    reviewed = _review(stored, policy)
    results = iter(reviewed)
    after = [_result(one, next(results), world) if is_service_entry(one) else one for one in stored]
    emitted = [dated(one, emitted_at) for each in _emitting(after, policy, world) for one in each.objects]
    return Change(stored, [*after, *emitted], emitted, reviewed)


def dated(manifest: Manifest, when: str) -> Manifest:
    """Return a copy with a creationTimestamp."""
    return {**manifest, "metadata": {**manifest["metadata"], "creationTimestamp": when}}


def _dated(documents: Iterable[Manifest]) -> Iterator[Manifest]:
    for number, one in enumerate(documents):
        metadata: dict[str, Any] = copy.deepcopy(one.get("metadata") or {})
        if one.get("kind") != "Namespace":
            metadata.setdefault("namespace", "default")
        metadata.setdefault("uid", f"uid-{number}")
        metadata.setdefault("creationTimestamp", f"2025-01-01T{number // 60 % 24:02}:{number % 60:02}:00Z")
        yield {**one, "metadata": metadata}


def _accepted(documents: list[Manifest], policy: GuardPolicy) -> list[Manifest]:
    """Take out what is refused: without it, what is left is judged again."""
    while True:
        refused = {id(one.manifest) for one in _review(documents, policy) if not one.verdict.allowed}
        if not refused:
            return documents
        documents = [one for one in documents if id(one) not in refused]


def _review(documents: Iterable[Manifest], policy: GuardPolicy) -> list[Reviewed]:
    return list(survey([Sourced("cluster", one, number) for number, one in enumerate(documents)], policy))


def _result(manifest: Manifest, reviewed: Reviewed, world: World) -> Manifest:
    kept = world is World.REPORTED or not reviewed.verdict.allowed
    return manifest if kept else dict(reviewed.stored)


def _emitting(after: Sequence[Manifest], policy: GuardPolicy, world: World) -> list[Reviewed]:
    """Review what is stored. An entry that the guard may not change counts as one that it emits nothing for."""
    reviewed = _review(after, policy)
    unchanged = {id(one.manifest) for one in reviewed if one.verdict.patch}
    if world is not World.REPORTED or not unchanged:
        return reviewed
    going = {"deletionTimestamp": LATE}
    silent = [{**one, "metadata": {**one["metadata"], **going}} if id(one) in unchanged else one for one in after]
    return _review(silent, policy)


def _place(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return str(manifest.get("kind")), str(metadata.get("namespace")), str(metadata.get("name"))
