"""Manifests in files, folders and on standard input: YAML or JSON, several documents each, Lists taken apart."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import yaml

from app.core.resources import JSON
from app.core.survey import Sourced

SIZE_LIMIT = 20 * 1024 * 1024
"""Largest file that is read, in bytes."""
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file, or the rest of one, that could not be read, and why."""

    source: str
    reason: str


class _Loader(yaml.CSafeLoader):
    """YAML as kubectl reads it: a time-stamp stays the text that it is in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read(paths: Iterable[str]) -> Iterator[Sourced | Unreadable]:
    """Yield what the paths hold, in order; folders are searched by name, "-" is standard input."""
    for path in paths:
        if path == STDIN:
            yield from _documents("<stdin>", sys.stdin.buffer)
        else:
            yield from _files(Path(path))


def _files(path: Path) -> Iterator[Sourced | Unreadable]:
    found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path]
    for file in found:
        try:
            with file.open("rb") as stream:
                yield from _documents(str(file), stream)
        except OSError as error:
            yield Unreadable(str(file), f"cannot be read: {error.strerror}")


def _documents(source: str, stream: BinaryIO) -> Iterator[Sourced | Unreadable]:
    content = stream.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        yield Unreadable(source, f"is larger than {SIZE_LIMIT // 1024 // 1024} MiB")
        return
    try:
        for document in yaml.load_all(content, Loader=_Loader):
            yield from (Sourced(source, manifest) for manifest in _items(document))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        yield Unreadable(source, f"is not YAML: {' '.join(str(error).split())}")
    except RecursionError:
        yield Unreadable(source, "is nested too deep")


def _items(document: JSON) -> Iterator[JSON]:
    if isinstance(document, dict) and str(document.get("kind")).endswith("List") and "items" in document:
        yield from document["items"] or ()
    elif document is not None:
        yield document
