"""Text files: found in folders, read within a size limit, and replaced completely or not at all."""

import codecs
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from app.core.resources.records import Record
from app.core.resources.service_entry import GROUP
from app.core.routes.survey import Unreadable
from app.manifests.documents import Malformed, decoded
from app.manifests.kustomize import FILES

SIZE_LIMIT = 20 * 1024 * 1024
"""Maximum size of a file, in bytes."""
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
STDIN_NAME = "<stdin>"

FileIdentity = tuple[int, int]
"""Device and inode."""


class File(Record):
    """A file as it was read. `path` is None for standard input; `folder` is the searched folder, if any."""

    name: str
    text: str
    path: Path | None = None
    folder: Path | None = None
    marked: bool = False
    """Whether it begins with a byte-order mark, which is not in `text`."""

    def encode(self, text: str) -> bytes:
        """Return a text in the encoding of this file."""
        return (codecs.BOM_UTF8 if self.marked else b"") + text.encode()


def read_files(paths: Iterable[str]) -> Iterator[File | Unreadable]:
    """Read the files of some paths, each once: "-" is standard input; folders are searched in alphabetical order."""
    seen = set[FileIdentity]()
    for path in paths:
        if path == STDIN:
            yield _read_stdin()
        else:
            yield from _read(Path(path), None, seen)


def replace_file(file: File, text: str) -> None:
    """Replace the text of a file; raises OSError, and then nothing has changed.

    For a symbolic link, its target is replaced. A link out of the folder in which the file was found is not followed.
    """
    path = Path(os.path.realpath(file.path or ""))
    if file.folder and not path.is_relative_to(os.path.realpath(file.folder)):
        raise OSError(0, "it is a symbolic link to a file outside the folder")
    if path.read_bytes() != file.encode(file.text):
        raise OSError(0, "it has changed since it was read")
    if not os.access(path, os.W_OK):
        raise OSError(0, "it is not writable")
    _replace(path, file.encode(text))


def _replace(path: Path, content: bytes) -> None:
    before = path.stat()
    import tempfile  # noqa: PLC0415 - it takes longer to import than most reviews take, and those write nothing

    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
            new.flush()
            os.fsync(descriptor)
            with suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _read_stdin() -> File | Unreadable:
    if sys.stdin is None:  # if the shell has closed it
        return Unreadable(STDIN_NAME, "is closed")
    try:
        return _decode(sys.stdin.buffer.read(SIZE_LIMIT + 1), STDIN_NAME)
    except OSError as error:
        return Unreadable(STDIN_NAME, f"cannot be read: {error.strerror}")


def _search(folder: Path, seen: set[FileIdentity]) -> Iterator[File | Unreadable]:
    failures: list[OSError] = []
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=failures.append):
        folders[:] = [name for name in folders if name != ".git"]
        found += [Path(parent, name) for name in names if Path(name).suffix in SUFFIXES or name in FILES]
    for path in sorted(found):
        yield from _read(path, folder, seen)
    yield from (Unreadable(str(error.filename), f"cannot be read: {error.strerror}") for error in failures)


def _read(path: Path, folder: Path | None, seen: set[FileIdentity]) -> Iterator[File | Unreadable]:
    """Read a path, or each file of a folder that was given as PATH."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            yield from () if folder else _search(path, seen)
        elif folder is None or stat.S_ISREG(found.st_mode):
            identity = found.st_dev, found.st_ino
            yield from () if identity in seen else _content(path, folder)
            seen.add(identity)
    except OSError as error:
        yield Unreadable(str(path), f"cannot be read: {error.strerror}")


def _content(path: Path, folder: Path | None) -> Iterator[File | Unreadable]:
    with path.open("rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    if not _foreign_json(path, folder, content):
        yield _decode(content, str(path), path, folder)


def _foreign_json(path: Path, folder: Path | None, content: bytes) -> bool:
    """Say whether a file in a searched folder is JSON without Istio objects. It need not even be valid JSON."""
    return bool(folder) and path.suffix == ".json" and GROUP.encode() not in content


def _decode(content: bytes, name: str, path: Path | None = None, folder: Path | None = None) -> File | Unreadable:
    if len(content) > SIZE_LIMIT:
        return Unreadable(name, f"is larger than {SIZE_LIMIT // 1024 // 1024} MiB")
    try:
        text = decoded(content)
    except Malformed as error:
        return Unreadable(name, error.reason, error.line)
    return File(name, text, path, folder, content.startswith(codecs.BOM_UTF8))
