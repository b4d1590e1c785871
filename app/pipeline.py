"""Standard input as a pipeline passes it on: every document as it came, entries repaired, objects added."""

from collections.abc import Iterator, Sequence

from app.core.plan import Observed
from app.core.resources import JSON
from app.core.routing import Emitted
from app.core.survey import Reviewed, Sourced
from app.manifests import Manifests
from app.manifests.edits import Edit, edited, renew, set_resolution
from app.manifests.files import STDIN_NAME


class Pipeline:
    """What came in on standard input, and what its entries ask for."""

    def __init__(self, manifests: Manifests, reviewed: Sequence[Reviewed], namespace: str) -> None:
        self._manifests = manifests
        self._source = manifests.sources[STDIN_NAME]
        self._entries = [one for one in reviewed if one.source == STDIN_NAME]
        self._namespace = namespace

    def text(self) -> str:
        """Return the documents that came in; raises NotEditable."""
        text = edited(self._source, [*self._repairs(), *self._renewals()])
        # What begins like JSON is taken for JSON to its end by older kubectl, and YAML may follow.
        return f"---\n{text}" if text.lstrip().startswith("{") else text

    def added(self) -> Iterator[JSON]:
        """Yield the objects that are to come and are not there yet."""
        for emitted, manifest in self._emitted():
            if self._present(emitted) is None:
                yield manifest

    def _repairs(self) -> Iterator[Edit]:
        for one in self._entries:
            if one.verdict.patch:
                yield set_resolution(self._source, one)

    def _renewals(self) -> Iterator[Edit]:
        for emitted, manifest in self._emitted():
            present = self._present(emitted)
            if present and Observed.parse(present.manifest, self._namespace).fingerprint != emitted.fingerprint:
                yield renew(self._source, present, manifest)

    def _emitted(self) -> Iterator[tuple[Emitted, JSON]]:
        for one in self._entries:
            yield from zip(one.emitted, one.objects, strict=True)

    def _present(self, emitted: Emitted) -> Sourced | None:
        """Return the object of this name that came in, which is ours: otherwise nothing would be emitted."""
        named = self._manifests.named(emitted.kind, emitted.key)
        return next((one for one in reversed(named) if one.source == STDIN_NAME), None)
