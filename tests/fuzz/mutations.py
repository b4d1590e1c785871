"""Documents that are almost valid: a valid one, changed in a few places, and its bytes, sometimes damaged too."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.strategies import json_values

DEEP = 100
oddities: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, -1, 2**63, 2**70, 1.5, "", " ", "\x00", "\ud800", "a" * 5000, [], {}, [[]], {"": None}),
        *(["x"] * 300, {"a": {"a": {"a": {}}}}, "1e999", "*", "~", "NONE", "DNS", "9999999999s", "Ⅷ", "K"),
    ]
)
values = st.one_of(oddities, json_values)


@st.composite
def changed(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """A document with up to four changes: a value replaced, removed, repeated, nested, or under another name."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(document))
        if places:
            parent, name = draw(st.sampled_from(places))
            _change(parent, name, draw(st.sampled_from(CHANGES)), copy.deepcopy(draw(values)))
    return document


def _change(parent: Any, name: Any, how: str, value: Any) -> None:
    if how == "remove":
        del parent[name]
    elif how == "repeat" and isinstance(parent, list):
        parent.insert(name, parent[name])
    elif how == "rename" and isinstance(parent, dict):
        parent[f"{name}x"] = parent.pop(name)
    elif how == "nest":
        for _ in range(DEEP):
            parent[name] = [parent[name]]
    else:
        parent[name] = value


CHANGES = ("replace", "replace", "remove", "repeat", "rename", "nest")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a document: an object or a list, and a name or an index in it."""
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(found):
        yield value, name
        yield from _places(inner)


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Bytes, most of them as they are, some cut or with other bytes in between."""
    content = draw(contents)
    if draw(st.integers(0, 5)):
        return content
    at = draw(st.integers(0, len(content)))
    return content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 6)) :]


def as_json(document: Any) -> bytes:
    """Return a document as JSON, half of a surrogate pair included."""
    return json.dumps(document).encode()


def as_yaml(document: Any) -> bytes:
    """Return a document as YAML."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode(errors="replace")
