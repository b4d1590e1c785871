"""Files that are not manifests because of the files around them: Helm's templates, Kustomize's patches.

A tool must render them first. The folders around a file show which tool: a Chart.yaml beside a folder `templates`, or
a kustomization that lists the file as a patch. Kustomize loads patches from the folder of the kustomization and from
folders below it, so we look for a kustomization in the folder of the file and in all folders above.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.core.resources.fields import JSON
from app.core.resources.records import Record
from app.manifests.documents import Malformed, documents
from app.manifests.embedded import mention
from app.manifests.files import File, read_files
from app.manifests.kustomize import FILES, patches
from app.manifests.obstacles import ENTRY_KIND, Obstacle


class Unrendered(Record):
    """A file that must be rendered first: its type, and the command that renders it.

    `chart` is the folder of a template's chart: one message covers all its templates. `kind` is the target kind of a
    patch, if the kustomization has it.
    """

    what: str
    command: str
    chart: str = ""
    kind: str = ""

    def concerns(self, text: str) -> bool:
        """Say whether the file contains a ServiceEntry, or a patch of one."""
        return _of_an_entry(self.kind, text)

    def reason(self, more: int = 0) -> str:
        """Say why the file, and a number of others of the same chart, are not reviewed."""
        others = f" (the chart has {more} more)" if more else ""
        return f"is {self.what}{others}, so it is not reviewed: render it first ({self.command})"


class Projects:
    """The charts and kustomizations around the files of a review; each folder is read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, Path] = {}
        self._charts: dict[Path, Path | None] = {}
        self._patches: dict[Path, Mapping[Path, Unrendered]] = {}

    def unrendered(self, file: Path) -> Unrendered | None:
        """Return how a file must be rendered before it can be reviewed; None if it is a manifest."""
        folder = self._folders.get(file.parent)
        if folder is None:
            folder = self._folders[file.parent] = _absolute(file.parent)
            self._look_into(folder)
        if chart := self._charts[folder]:
            shown = os.path.relpath(chart)
            return Unrendered("a Helm template of a ServiceEntry", f"helm template {shown}", chart=shown)
        patches = self._patches[folder]
        return patches.get(folder / file.name) if patches else None

    def _look_into(self, folder: Path) -> None:
        """Find charts and kustomizations in a folder and all above it. They also apply to the folders below."""
        for each in reversed((folder, *folder.parents)):
            if each not in self._patches:
                above = self._patches.get(each.parent, {})
                own = {path: patch for name in FILES for path, patch in _listed(each / name)}
                self._patches[each] = {**above, **own} if own else above
                self._charts[each] = _chart_of(each) or self._charts.get(each.parent)


def inline_patches(kustomization: Path, value: JSON) -> Iterator[Obstacle]:
    """Yield the patches of ServiceEntries that are inside a kustomization."""
    for patch in patches(value):
        if patch.text and _of_an_entry(patch.kind, patch.text):
            reason = "has a Kustomize patch of a ServiceEntry, which is not reviewed: render it first"
            yield Obstacle(f"{reason} ({_build(kustomization, value)})", patch.field)


def _of_an_entry(kind: str, text: str) -> bool:
    """Say whether a target's kind, or the text itself, names a ServiceEntry: the kind may be a regular expression."""
    return ENTRY_KIND in kind or mention(text) is not None


def _chart_of(templates: Path) -> Path | None:
    """Return the chart to which a folder of templates belongs: of a chart within charts, the outermost."""
    chart = templates.parent
    if templates.name != "templates" or not _is_chart(chart):
        return None
    while chart.parent.name == "charts" and _is_chart(chart.parent.parent):
        chart = chart.parent.parent
    return chart


def _is_chart(folder: Path) -> bool:
    return (folder / "Chart.yaml").is_file()


def _listed(kustomization: Path) -> Iterator[tuple[Path, Unrendered]]:
    """Yield the files that a kustomization lists as patches; none if there is no readable kustomization."""
    for value in _read(kustomization) if kustomization.is_file() else ():
        what = f"a Kustomize patch of a ServiceEntry, listed in {os.path.relpath(kustomization)}"
        for patch in patches(value):
            path = _absolute(kustomization.parent / patch.path)
            yield path, Unrendered(what, _build(kustomization, value), kind=patch.kind)


def _build(kustomization: Path, value: JSON) -> str:
    if isinstance(value, dict) and value.get("kind") == "Component":
        return "kustomize build of an overlay with this component"
    return f"kustomize build {os.path.relpath(kustomization.parent)}"


def _read(path: Path) -> list[JSON]:
    try:
        return [
            document.value
            for file in read_files([str(path)])
            if isinstance(file, File)
            for document in documents(file.text)
        ]
    except Malformed:
        return []


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))
