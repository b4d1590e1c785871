"""Standard input as a pipeline passes it on: all documents unchanged, entries repaired, objects added."""

from collections.abc import Iterator, Sequence

from app.core.resources.fields import JSON
from app.core.routes.observed import Observed
from app.core.routes.survey import Reviewed, Sourced
from app.core.routes.virtual_service import Emitted
from app.manifests.edits import (
    Change,
    Edit,
    NotEditable,
    add_items,
    edited,
    exchanged,
    renew,
    renewed,
    set_field,
    set_resolution,
)
from app.manifests.files import STDIN_NAME
from app.manifests.manifests import Manifests
from app.manifests.writer import document, dump
from app.review.krm import results


class Pipeline:
    """The documents on standard input, and the objects of their entries."""

    def __init__(self, manifests: Manifests, reviewed: Sequence[Reviewed], namespace: str) -> None:
        self._manifests = manifests
        self._source = manifests.sources[STDIN_NAME]
        self._entries = [entry for entry in reviewed if entry.source == STDIN_NAME]
        self._namespace = namespace

    def stream(self) -> str:
        """Return the documents of the input, and those of new objects; raises NotEditable."""
        text = edited(self._source, self._edits(), self._meaning())
        added = [document(manifest) for manifest in self._added()]
        if added and not text.endswith("\n"):
            text += "\n"
        # Older kubectl reads a stream that begins like JSON as JSON to its end, and YAML may follow.
        return "".join(["---\n" if text.lstrip().startswith("{") else "", text, *added])

    def resource_list(self) -> str:
        """Return the ResourceList of a KRM function; it is written from scratch if it cannot be edited."""
        added, documents = list(self._added()), self._meaning()
        said = results(self._entries, [item for item in self._manifests.skipped if item.source == STDIN_NAME])
        documents[0]["items"] += added
        if said or "results" in documents[0]:
            documents[0]["results"] = said
        try:
            return edited(self._source, [*self._edits(), *self._list_edits(added, said)], documents)
        except NotEditable:
            return dump(documents[0])

    def _list_edits(self, added: Sequence[JSON], said: Sequence[JSON]) -> Iterator[Edit]:
        text, root = self._source.file.text, self._source.root(0)
        if added:
            yield add_items(text, root.fields["items"].value, added)
        if said or "results" in root.fields:
            yield set_field(text, root, "results", said)

    def _meaning(self) -> list[JSON]:
        repairs = (entry for entry in self._entries if entry.verdict.patch)
        return exchanged(self._source, repairs, self._renewals())

    def _edits(self) -> Iterator[Edit]:
        yield from (set_resolution(self._source, entry) for entry in self._entries if entry.verdict.patch)
        yield from (renew(self._source, *change) for change in self._renewals())

    def _renewals(self) -> Iterator[Change]:
        for emitted, manifest in self._emitted():
            present = self._present(emitted)
            if present and Observed.parse(present.manifest, self._namespace).fingerprint != emitted.fingerprint:
                yield present, renewed(present.manifest, manifest)

    def _added(self) -> Iterator[JSON]:
        yield from (manifest for emitted, manifest in self._emitted() if self._present(emitted) is None)

    def _emitted(self) -> Iterator[tuple[Emitted, JSON]]:
        for entry in self._entries:
            yield from zip(entry.emitted, entry.objects, strict=True)

    def _present(self, emitted: Emitted) -> Sourced | None:
        """Return the object of this name in the input. It belongs to the guard: otherwise nothing would be emitted."""
        named = self._manifests.named(emitted.kind, emitted.key)
        return next((document for document in reversed(named) if document.source == STDIN_NAME), None)
