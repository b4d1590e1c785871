"""ServiceEntries inside other objects: in the text of a ConfigMap, in an object of another product, in a template."""

import re
from collections.abc import Iterator

from app.core.resources.fields import JSON
from app.core.resources.kinds import is_service_entry
from app.core.resources.service_entry import GROUP

_MENTION = re.compile(r"""\bkind["']?[ \t]*:[ \t]*["']?ServiceEntry(?:List)?\b""")


def mention(text: str) -> int | None:
    """Return the position of the first ServiceEntry in a text, which need not be YAML; None if there is none."""
    found = _MENTION.search(text)
    return found.start() if found else None


def embedded(value: JSON, path: str = "") -> Iterator[str]:
    """Yield the paths of the ServiceEntries inside a value, as objects or as text."""
    if isinstance(value, str):
        if f"{GROUP}/" in value and mention(value) is not None:
            yield path
    elif is_service_entry(value) and isinstance(value.get("spec"), dict):
        yield path
    else:
        for inner, name in inside(value, path):
            yield from embedded(inner, name)


def inside(value: JSON, path: str) -> Iterator[tuple[JSON, str]]:
    """Yield the members of an object or a list, each with its path in Kubernetes' notation."""
    if isinstance(value, dict):
        for key, inner in value.items():
            plain = key.replace("-", "").replace("_", "").isalnum()
            yield inner, f"{path}.{key}".removeprefix(".") if plain else f'{path}["{key}"]'
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield inner, f"{path}[{index}]"
