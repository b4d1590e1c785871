"""Edits of a text that leave every other byte unchanged: comments, order, quotes, line ends.

Each edit is made at the position that libyaml reports. The result is parsed again and compared with its intended
meaning. If they differ, nothing is changed.
"""

import json
from collections.abc import Iterable, Sequence

from app.core.resources.fields import JSON, Fields
from app.core.resources.records import Record
from app.core.routes.survey import Reviewed, Sourced
from app.core.rules.patch import apply_patch
from app.manifests.documents import Malformed, documents
from app.manifests.layout import Field, Node, Source
from app.manifests.lists import member_field
from app.manifests.writer import dump

RESOLUTION = "resolution"

Change = tuple[Sourced, JSON]
"""A manifest that was read, and its replacement."""


class NotEditable(Exception):
    """A text that cannot be edited without changing other fields; the message says why."""


class Edit(Record):
    """The replacement of the text between two positions, counted in characters."""

    start: int
    end: int
    text: str


def repaired(source: Source, entries: Sequence[Reviewed]) -> str:
    """Return the text of a file with the resolution of these entries set; raises NotEditable."""
    edits = [set_resolution(source, entry) for entry in entries]
    return edited(source, edits, exchanged(source, entries))


def edited(source: Source, edits: Iterable[Edit], meaning: Sequence[JSON]) -> str:
    """Return the text of a file after the edits; raises NotEditable if its meaning is not the intended one."""
    before, pieces, place = source.file.text, list[str](), 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += [before[place : edit.start], edit.text]
        place = edit.end
    after = "".join([*pieces, before[place:]])
    if _reading(after) != [(value, twice) for value, (_, twice) in zip(meaning, _reading(before), strict=True)]:
        raise NotEditable("its resolution cannot be written without changing other fields")
    return after


def exchanged(source: Source, repairs: Iterable[Reviewed], renewals: Iterable[Change] = ()) -> list[JSON]:
    """Return the intended documents of a file: with patched entries and replaced manifests."""
    values = [document.value for document in documents(source.file.text)]
    for reviewed in repairs:
        holder, index = _place(values, reviewed.origin)
        holder[index] = apply_patch(holder[index], reviewed.verdict.patch)
    for origin, manifest in renewals:
        holder, index = _place(values, origin)
        holder[index] = manifest
    return values


def _place(values: list[JSON], origin: Sourced) -> tuple[list[JSON], int]:
    """Return the list that contains a manifest, and its index there."""
    if origin.item is None:
        return values, origin.document
    document = values[origin.document]
    return document[member_field(document)], origin.item


def set_resolution(source: Source, reviewed: Reviewed) -> Edit:
    """Set the resolution of an entry as its verdict says; raises NotEditable if it has no spec of its own."""
    found = source.node(reviewed.origin).fields.get("spec")
    if found is None or not found.value.fields:
        raise NotEditable("its spec is behind a YAML alias or merge key")
    text, spec, resolution = source.file.text, found.value, reviewed.verdict.patch[0]["value"]
    if RESOLUTION in spec.fields:
        return _exchange(text, spec.fields[RESOLUTION], resolution)
    return add_field(text, spec, RESOLUTION, resolution)


def renew(source: Source, origin: Sourced, manifest: JSON) -> Edit:
    """Replace a manifest by another one, as JSON, which is valid YAML anywhere."""
    node = source.node(origin)
    return Edit(node.start, node.end, json.dumps(manifest))


def renewed(manifest: JSON, desired: JSON) -> JSON:
    """Return an object of the guard with its current content; labels and annotations of others stay."""
    old, new = manifest["metadata"], desired["metadata"]
    merged = {name: Fields(old.get(name), name).values | new[name] for name in ("labels", "annotations")}
    return {**manifest, **desired, "metadata": {**old, **new, **merged}}


def add_field(text: str, node: Node, name: str, value: JSON) -> Edit:
    """Append a field to an object that is not empty."""
    last = list(node.fields.values())[-1]
    if not node.flow:
        return _after_block(text, last.value, last.key.start, dump({name: value}))
    return _after_flow(text, last.value.end, last.key, _flow_field(name, value, last.key.style))


def set_field(text: str, node: Node, name: str, value: JSON) -> Edit:
    """Replace a field of an object that is not empty, as JSON, or append it."""
    if name not in node.fields:
        return add_field(text, node, name, value)
    field = node.fields[name]
    return Edit(text.find(":", field.key.end) + 1, field.value.end, f" {json.dumps(value)}")


def add_items(text: str, node: Node, values: Sequence[JSON]) -> Edit:
    """Append items to a list; raises NotEditable if the list is empty, or behind an alias."""
    if not node.items:
        raise NotEditable("its items are behind a YAML alias")
    last = node.items[-1]
    if not node.flow:
        return _after_block(text, last, node.start, dump(list(values)))
    return _after_flow(text, last.end, last, ", ".join(map(json.dumps, values)))


def _exchange(text: str, field: Field, word: str) -> Edit:
    """Replace one scalar; a tag or an anchor before it stays. If there is none, write it after the colon."""
    value = field.value
    if value.start == value.end:
        place = text.find(":", field.key.end) + 1
        return Edit(place, place, f" {word}")
    written = f"{value.style}{value.text}{value.style}"
    start = value.end - len(written) if value.text and text.endswith(written, 0, value.end) else value.start
    return Edit(start, value.end, f"{value.style}{word}{value.style}")


def _after_block(text: str, last: Node, start: int, written: str) -> Edit:
    """Write lines after the last line of a block, and after a comment in that line."""
    end = last.end
    if last.style in {"|", ">"}:  # its end is the beginning of the next line
        end = len(text[:end].rstrip())
    place = text.find("\n", end)
    place = len(text) if place < 0 else place
    place -= text.endswith("\r", end, place)
    margin = _line_break(text, start) + " " * len(_before_in_line(text, start))
    return Edit(place, place, "".join(margin + line for line in written.removesuffix("\n").split("\n")))


def _after_flow(text: str, end: int, sibling: Node, written: str) -> Edit:
    """Write a member after the last one, on its own line if that one has its own line."""
    indent = _before_in_line(text, sibling.start)
    return Edit(end, end, f", {written}" if indent.strip() else f",{_line_break(text, sibling.start)}{indent}{written}")


def _flow_field(name: str, value: JSON, style: str) -> str:
    """Write a field in the style of its siblings: as JSON, or as plain scalars."""
    if style == '"':
        return f"{json.dumps(name)}: {json.dumps(value)}"
    return f"{name}: {value if isinstance(value, str) else json.dumps(value)}"


def _before_in_line(text: str, place: int) -> str:
    return text[text.rfind("\n", 0, place) + 1 : place]


def _line_break(text: str, place: int) -> str:
    """Return the line break before a position."""
    return "\r\n" if text.endswith("\r", 0, text.rfind("\n", 0, place)) else "\n"


def _reading(text: str) -> list[tuple[JSON, str]]:
    """Read each document and its duplicate key, if any; empty if the text cannot be read."""
    try:
        return [(document.value, document.twice[0] if document.twice else "") for document in documents(text)]
    except Malformed:
        return []
