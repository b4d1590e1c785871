"""The patches in a kustomization. A patch is a part of a manifest; `kustomize build` completes it."""

from collections.abc import Iterator

from app.core.resources.fields import JSON, Fields
from app.core.resources.records import Record

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The names under which Kustomize looks for a kustomization."""


class Patch(Record):
    """One patch: its file, or its text inside the kustomization.

    `field` is its path in the kustomization, `kind` its target kind, "" if only the patch itself has it.
    """

    field: str
    path: str = ""
    text: str = ""
    kind: str = ""


def patches(kustomization: JSON) -> Iterator[Patch]:
    """Yield the patches of a kustomization; none if the document is something else. Never raises."""
    root = Fields(kustomization, "")
    for name in ("patches", "patchesJson6902"):
        for item in root.children(name):
            inline = "patch" in item.values
            field = item.path("patch" if inline else "path")
            yield Patch(field, item.text("path"), item.text("patch"), item.child("target").text("kind"))
    for index, text in enumerate(root.texts("patchesStrategicMerge")):
        inline = "\n" in text or text.lstrip().startswith("{")
        yield Patch(f"patchesStrategicMerge[{index}]", "" if inline else text, text if inline else "")
