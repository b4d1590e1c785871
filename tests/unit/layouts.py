"""Hypothesis strategies for files as people write them: ServiceEntries among other things, in every layout of YAML."""

import json
import string
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Value = Any
Drawn = st.DrawFn

words = st.text(string.ascii_lowercase + "äß語😀", min_size=1, max_size=5).map("w{}".format)
comments = st.sampled_from(["", "", "", " # why", "  # resolution: NONE", "\t# tab", " #é", " # {[*&!|>'\"%"])
resolutions = st.sampled_from([None, "NONE", "NONE", "DNS", "", "~", "null", "STATIC", "!!str NONE"])
"""As they are written; None where the field is left out."""


@dataclass(frozen=True)
class Style:
    """How one document is written."""

    flow: bool
    indent: int
    dash: int
    quote: str


styles = st.builds(
    Style,
    flow=st.booleans(),
    indent=st.integers(1, 4),
    dash=st.integers(0, 2),
    quote=st.sampled_from(["", "'", '"']),
)


@st.composite
def entries(draw: Drawn) -> dict[str, Value]:
    """A ServiceEntry that can be given resolution DNS, its fields in any order."""
    ports = st.lists(
        st.fixed_dictionaries({"number": st.integers(1, 65535), "name": words, "protocol": st.just("HTTP")}),
        min_size=1,
        max_size=2,
    )
    spec = {"hosts": ["api.example.com", "b.example.com"], "ports": draw(ports), "location": "MESH_EXTERNAL"}
    resolution = draw(resolutions)
    if resolution is not None:
        spec["resolution"] = Verbatim(resolution)
    entry = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "e", "namespace": "team", "labels": draw(st.dictionaries(words, words, max_size=2))},
        "spec": _shuffled(draw, spec),
    }
    return _shuffled(draw, entry)


@dataclass(frozen=True)
class Verbatim:
    """A value that is written as it is."""

    text: str


others = st.fixed_dictionaries(
    {"kind": st.sampled_from(["ConfigMap", "Service", "Resolution"]), "resolution": st.just("NONE"), "data": words}
)


@st.composite
def documents(draw: Drawn) -> str:
    """One document: an entry, a List of some, JSON, or something else."""
    value = draw(st.one_of(entries(), entries(), lists(), others))
    if draw(st.integers(0, 4)) == 0:
        return _json(value, draw(st.sampled_from([None, 2, "\t"])))
    return _written(draw, value, draw(styles), 0) + "\n"


@st.composite
def lists(draw: Drawn) -> dict[str, Value]:
    """A List of entries and other objects."""
    return {"apiVersion": "v1", "kind": "List", "items": draw(st.lists(entries() | others, min_size=1, max_size=3))}


@st.composite
def files(draw: Drawn) -> bytes:
    """A file of one to three documents."""
    separators = st.sampled_from(["---\n", "--- # next\n", "\n---\n\n", "...\n---\n"])
    written = draw(st.lists(documents(), min_size=1, max_size=3))
    text = draw(st.sampled_from(["", "# head\n", "---\n", "%YAML 1.1\n---\n"])) + written[0]
    for document in written[1:]:
        text += draw(separators) + document
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    if draw(st.integers(0, 3)) == 0:
        text = text.replace("\n", "\r\n")
    return (b"\xef\xbb\xbf" if draw(st.integers(0, 5)) == 0 else b"") + text.encode()


def _shuffled(draw: Drawn, values: dict[str, Value]) -> dict[str, Value]:
    return {name: values[name] for name in draw(st.permutations(sorted(values)))}


def _json(value: Value, indent: int | str | None) -> str:
    def plain(one: Verbatim) -> Value:
        return one.text if one.text.isupper() else None

    return json.dumps(value, indent=indent, default=plain, ensure_ascii=False) + "\n"


def _written(draw: Drawn, value: Value, style: Style, column: int) -> str:
    """Write a value in block style from a column on, or else in flow style; without the line break at its end."""
    if not value or not isinstance(value, dict | list) or (style.flow and draw(st.booleans())):
        return _flow(draw, value, style, column)
    if isinstance(value, dict):
        return _block_object(draw, value, style, column)
    return _block_list(draw, value, style, column)


def _block_object(draw: Drawn, value: dict[str, Value], style: Style, column: int) -> str:
    lines = []
    for name, field in value.items():
        key = f"{style.quote}{name}{style.quote}" if draw(st.integers(0, 5)) == 0 else name
        inner = column + (style.dash if isinstance(field, list) else style.indent)
        written = _written(draw, field, style, inner)
        block = isinstance(field, dict | list) and not written.startswith(("{", "["))
        lines.append(
            f"{key}:{draw(comments)}\n{' ' * inner}{written}" if block else f"{key}: {written}{draw(comments)}"
        )
    return ("\n" + draw(st.sampled_from(["", "", "\n", "# c\n"])) + " " * column).join(lines)


def _block_list(draw: Drawn, value: list[Value], style: Style, column: int) -> str:
    items = [_written(draw, item, style, column + 2) + draw(comments) for item in value]
    return ("\n" + " " * column).join(f"- {item}" for item in items)


def _scalar(value: Value, style: Style) -> str:
    if isinstance(value, Verbatim):
        return f"{style.quote}{value.text}{style.quote}" if value.text.isupper() else value.text
    return f"{style.quote}{value}{style.quote}" if isinstance(value, str) else str(value)


def _flow_object(draw: Drawn, value: dict[str, Value], style: Style, depth: int) -> str:
    fields = [f"{name}: {_flow(draw, field, style, depth)}" for name, field in value.items()]
    return "{" + _joined(draw, fields, depth) + "}"


def _flow_list(draw: Drawn, value: list[Value], style: Style, depth: int) -> str:
    return "[" + _joined(draw, [_flow(draw, item, style, depth) for item in value], depth) + "]"


def _flow(draw: Drawn, value: Value, style: Style, depth: int) -> str:
    if isinstance(value, dict):
        return _flow_object(draw, value, style, depth + 1)
    if isinstance(value, list):
        return _flow_list(draw, value, style, depth + 1)
    return _scalar(value, style)


def _joined(draw: Drawn, members: list[str], depth: int) -> str:
    """Join members on one line, or on one each, perhaps with a comma at the end."""
    if not members or draw(st.booleans()):
        return draw(st.sampled_from(["", " "])) + ", ".join(members)
    margin = "\n" + " " * (depth + 3)
    end = draw(st.sampled_from(["", ","])) + draw(st.sampled_from(["", " # end"])) + "\n" + " " * (depth + 2)
    return margin + f",{margin}".join(members) + end
