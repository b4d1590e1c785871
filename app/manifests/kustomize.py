"""The patches that a kustomization lists. A patch is a part of a manifest: only `kustomize build` makes it whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.core.resources.service_entry import JSON, Fields

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The names under which Kustomize looks for a kustomization."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch: the file that holds it, or the text that stands in the kustomization itself.

    `field` is its place in the kustomization, `kind` the kind that it targets, "" where only the patch says that.
    """

    field: str
    path: str = ""
    text: str = ""
    kind: str = ""


def patches(kustomization: JSON) -> Iterator[Patch]:
    """Yield the patches of a kustomization; nothing for what is not one. Never raises."""
    root = Fields(kustomization, "")
    for name in ("patches", "patchesJson6902"):
        for one in root.children(name):
            inline = "patch" in one.values
            field = f"{one.path}.{'patch' if inline else 'path'}"
            yield Patch(field, one.text("path"), one.text("patch"), one.child("target").text("kind"))
    for index, text in enumerate(root.texts("patchesStrategicMerge")):
        inline = "\n" in text or text.lstrip().startswith("{")
        yield Patch(f"patchesStrategicMerge[{index}]", "" if inline else text, text if inline else "")
