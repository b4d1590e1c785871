"""Changes to a text that leave every other byte as it is: comments, order, quotes, line ends.

Each is made at the place that libyaml's marks show. What comes out is read again and held against what it should mean:
where the layout misleads, nothing is changed at all.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.core.resources.service_entry import JSON, Fields
from app.core.routes.survey import Reviewed, Sourced
from app.core.rules.patch import apply_patch
from app.manifests.documents import Malformed, documents
from app.manifests.layout import Field, Node, Source
from app.manifests.lists import member_field
from app.manifests.writer import dump

RESOLUTION = "resolution"

Change = tuple[Sourced, JSON]
"""A manifest that was read, and what becomes of it."""


class NotEditable(Exception):
    """A text that cannot be changed without changing more than is meant; the message says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands between two places of a text, counted in characters, becomes something else."""

    start: int
    end: int
    text: str


def repaired(source: Source, entries: Sequence[Reviewed]) -> str:
    """Return the text of a file with the resolution of these entries set; raises NotEditable."""
    edits = [set_resolution(source, one) for one in entries]
    return edited(source, edits, exchanged(source, entries))


def edited(source: Source, edits: Iterable[Edit], meaning: Sequence[JSON]) -> str:
    """Return the text of a file with the edits made; raises NotEditable if it would not mean what it should."""
    before, pieces, place = source.file.text, list[str](), 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += [before[place : edit.start], edit.text]
        place = edit.end
    after = "".join([*pieces, before[place:]])
    if _reading(after) != [(value, twice) for value, (_, twice) in zip(meaning, _reading(before), strict=True)]:
        raise NotEditable("its resolution cannot be written without changing other fields")
    return after


def exchanged(source: Source, repairs: Iterable[Reviewed], renewals: Iterable[Change] = ()) -> list[JSON]:
    """Return the documents of a file as they are meant to be: entries patched, other manifests exchanged."""
    values = [document.value for document in documents(source.file.text)]
    for one in repairs:
        holder, index = _place(values, one.origin)
        holder[index] = apply_patch(holder[index], one.verdict.patch)
    for origin, manifest in renewals:
        holder, index = _place(values, origin)
        holder[index] = manifest
    return values


def _place(values: list[JSON], origin: Sourced) -> tuple[list[JSON], int]:
    """Return the list that holds a manifest, and where in it the manifest is."""
    if origin.item is None:
        return values, origin.document
    document = values[origin.document]
    return document[member_field(document)], origin.item


def set_resolution(source: Source, one: Reviewed) -> Edit:
    """Give an entry the resolution that its verdict says; raises NotEditable where it has no spec of its own."""
    found = source.node(one.origin).fields.get("spec")
    if found is None or not found.value.fields:
        raise NotEditable("its spec is behind a YAML alias or merge key")
    text, spec, resolution = source.file.text, found.value, one.verdict.patch[0]["value"]
    if RESOLUTION in spec.fields:
        return _exchange(text, spec.fields[RESOLUTION], resolution)
    return add_field(text, spec, RESOLUTION, resolution)


def renew(source: Source, origin: Sourced, manifest: JSON) -> Edit:
    """Write another manifest in the place of one, as JSON, which YAML takes anywhere."""
    node = source.node(origin)
    return Edit(node.start, node.end, json.dumps(manifest))


def renewed(manifest: JSON, desired: JSON) -> JSON:
    """Return an object of ours with what we write of it; labels and annotations of others stay."""
    old, new = manifest["metadata"], desired["metadata"]
    merged = {name: Fields(old.get(name), name).values | new[name] for name in ("labels", "annotations")}
    return {**manifest, **desired, "metadata": {**old, **new, **merged}}


def add_field(text: str, node: Node, name: str, value: JSON) -> Edit:
    """Write one more field at the end of an object that is not empty."""
    last = list(node.fields.values())[-1]
    if not node.flow:
        return _after_block(text, last.value, last.key.start, dump({name: value}))
    return _after_flow(text, last.value.end, last.key, _flow_field(name, value, last.key.style))


def set_field(text: str, node: Node, name: str, value: JSON) -> Edit:
    """Write a field of an object that is not empty anew, as JSON if it is there."""
    if name not in node.fields:
        return add_field(text, node, name, value)
    field = node.fields[name]
    return Edit(text.find(":", field.key.end) + 1, field.value.end, f" {json.dumps(value)}")


def add_items(text: str, node: Node, values: Sequence[JSON]) -> Edit:
    """Write more items at the end of a list; raises NotEditable if it is empty, or not written there."""
    if not node.items:
        raise NotEditable("its items are behind a YAML alias")
    last = node.items[-1]
    if not node.flow:
        return _after_block(text, last, node.start, dump(list(values)))
    return _after_flow(text, last.end, last, ", ".join(map(json.dumps, values)))


def _exchange(text: str, field: Field, word: str) -> Edit:
    """Exchange a word alone: a tag or an anchor before it stays. Where there is none, write it after the colon."""
    value = field.value
    if value.start == value.end:
        place = text.find(":", field.key.end) + 1
        return Edit(place, place, f" {word}")
    written = f"{value.style}{value.text}{value.style}"
    start = value.end - len(written) if value.text and text.endswith(written, 0, value.end) else value.start
    return Edit(start, value.end, f"{value.style}{word}{value.style}")


def _after_block(text: str, last: Node, start: int, written: str) -> Edit:
    """Write lines below the last one of a block that starts somewhere, behind a comment in that line."""
    end = last.end
    if last.style in {"|", ">"}:  # whose end is where the lines after it begin
        end = len(text[:end].rstrip())
    place = text.find("\n", end)
    place = len(text) if place < 0 else place
    place -= text.endswith("\r", end, place)
    margin = _line_break(text, start) + " " * len(_before_in_line(text, start))
    return Edit(place, place, "".join(margin + line for line in written.removesuffix("\n").split("\n")))


def _after_flow(text: str, end: int, sibling: Node, written: str) -> Edit:
    """Write a member behind the last one, on a line of its own if that has one."""
    indent = _before_in_line(text, sibling.start)
    return Edit(end, end, f", {written}" if indent.strip() else f",{_line_break(text, sibling.start)}{indent}{written}")


def _flow_field(name: str, value: JSON, style: str) -> str:
    """Write a field as its siblings are written: as JSON, or with plain words."""
    if style == '"':
        return f"{json.dumps(name)}: {json.dumps(value)}"
    return f"{name}: {value if isinstance(value, str) else json.dumps(value)}"


def _before_in_line(text: str, place: int) -> str:
    return text[text.rfind("\n", 0, place) + 1 : place]


def _line_break(text: str, place: int) -> str:
    """Return the line break before a place."""
    return "\r\n" if text.endswith("\r", 0, text.rfind("\n", 0, place)) else "\n"


def _reading(text: str) -> list[tuple[JSON, str]]:
    """Read each document, and a key that one of its objects has twice; nothing where that is not possible."""
    try:
        return [(document.value, document.twice[0] if document.twice else "") for document in documents(text)]
    except Malformed:
        return []
