"""Changes to the text of a file that leave every other byte as it is: comments, order, quotes, line ends."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from app.core.resources import JSON, Fields
from app.core.survey import Reviewed, Sourced
from app.manifests.documents import Malformed, documents
from app.manifests.layout import Field, Node
from app.manifests.source import Source

FIELD = "resolution"


class NotEditable(Exception):
    """A text that cannot be changed without changing more than is meant; the message says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands between two places of a text is exchanged, so that a manifest read from there becomes another."""

    origin: Sourced
    manifest: JSON
    start: int
    end: int
    text: str


def set_resolution(source: Source, one: Reviewed) -> Edit:
    """Give an entry the resolution that its verdict says; raises NotEditable where it has no spec of its own."""
    found = source.node(one.origin).fields.get("spec")
    if found is None or not found.value.fields:
        raise NotEditable("its spec stands elsewhere, behind an alias or a merge key")
    change = _exchange if FIELD in found.value.fields else _insert
    return Edit(one.origin, one.stored, *change(source.file.text, found.value, one.verdict.patch[0]["value"]))


def repaired(source: Source, entries: Iterable[Reviewed]) -> str:
    """Return the text of a file with the resolution of these entries set; raises NotEditable."""
    return edited(source, [set_resolution(source, one) for one in entries])


def renew(source: Source, origin: Sourced, desired: JSON) -> Edit:
    """Bring an object of ours up to date, written as JSON, which YAML takes anywhere."""
    node, manifest = source.node(origin), renewed(origin.manifest, desired)
    return Edit(origin, manifest, node.start, node.end, json.dumps(manifest))


def renewed(manifest: JSON, desired: JSON) -> JSON:
    """Return an object of ours with what we write of it; labels and annotations of others stay."""
    old, new = manifest["metadata"], desired["metadata"]
    merged = {name: Fields(old.get(name), name).values | new[name] for name in ("labels", "annotations")}
    return {**manifest, **desired, "metadata": {**old, **new, **merged}}


def edited(source: Source, edits: Iterable[Edit]) -> str:
    """Return the text of a file with the edits made; raises NotEditable if it would not mean what it should."""
    before, edits = source.file.text, sorted(edits, key=lambda edit: edit.start)
    pieces, place = [], 0
    for edit in edits:
        pieces += [before[place : edit.start], edit.text]
        place = edit.end
    after = "".join([*pieces, before[place:]])
    try:
        same = _meaning(after) == _expected(before, edits)
    except Malformed:
        same = False
    if not same:
        raise NotEditable("its text does not show where to write so that nothing else changes")
    return after


def _exchange(text: str, spec: Node, resolution: str) -> tuple[int, int, str]:
    """Exchange the word alone: a tag or an anchor before it stays. Where there is none, write it after the colon."""
    key, value = spec.fields[FIELD].key, spec.fields[FIELD].value
    if value.start == value.end:
        place = text.find(":", key.end) + 1
        return place, place, f" {resolution}"
    word = f"{value.style}{value.text}{value.style}"
    start = value.end - len(word) if value.text and text[: value.end].endswith(word) else value.start
    return start, value.end, f"{value.style}{resolution}{value.style}"


def _insert(text: str, spec: Node, resolution: str) -> tuple[int, int, str]:
    last = list(spec.fields.values())[-1]
    quote = '"' if last.key.style == '"' else ""
    member = f"{quote}{FIELD}{quote}: {quote}{resolution}{quote}"
    place, before = (_after_flow if spec.flow else _after_block)(text, last)
    return place, place, before + member


def _after_flow(text: str, last: Field) -> tuple[int, str]:
    indent = _before_in_line(text, last.key.start)
    return last.value.end, ", " if indent.strip() else f",{_line_break(text, last.key.start)}{indent}"


def _after_block(text: str, last: Field) -> tuple[int, str]:
    """Go to the end of the line, behind a comment; a block scalar ends where the lines after it begin."""
    end = last.value.end
    if last.value.style in {"|", ">"}:
        end = len(text[:end].rstrip())
    place = text.find("\n", end)
    place = len(text) if place < 0 else place
    indent = " " * len(_before_in_line(text, last.key.start))
    return place - text.endswith("\r", end, place), _line_break(text, last.key.start) + indent


def _before_in_line(text: str, place: int) -> str:
    return text[text.rfind("\n", 0, place) + 1 : place]


def _line_break(text: str, place: int) -> str:
    """Return the line break before a place."""
    return "\r\n" if text.endswith("\r", 0, text.rfind("\n", 0, place)) else "\n"


def _meaning(text: str) -> list[tuple[JSON, str]]:
    """Read each document with the key that one of its objects has twice, "" for none."""
    return [(document.value, document.twice[0] if document.twice else "") for document in documents(text)]


def _expected(text: str, edits: Iterable[Edit]) -> list[tuple[JSON, str]]:
    meaning = _meaning(text)
    for edit in edits:
        number, item = edit.origin.document, edit.origin.item
        value, twice = meaning[number]
        meaning[number] = (edit.manifest if item is None else _with_item(value, item, edit.manifest)), twice
    return meaning


def _with_item(value: JSON, number: int, manifest: JSON) -> JSON:
    items = [*value["items"]]
    items[number] = manifest
    return value | {"items": items}
