"""The stored entries that keep their resolution, from a mounted file that the controller writes.

While the file does not exist, no such entry is known. The controller restores an entry that is changed meanwhile.
"""

import logging
from pathlib import Path

import msgspec

from app.core.rules.kept_resolutions import Standing, parse_standing
from app.policyfile import FileStamp, file_stamp

SIZE_LIMIT = 1024 * 1024
"""The maximum size of a ConfigMap, in bytes."""

log = logging.getLogger(__name__)


class SiblingsFile:
    """The entries in the file; if a changed file is not valid, the previous entries stay in force."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: FileStamp = None
        self.current: Standing = {}
        self.poll()

    def poll(self) -> None:
        """Load a changed file."""
        stamp = file_stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            content = self._read()
        except OSError:
            return  # tried again at the next poll
        self._stamp = stamp
        try:
            self.current = parse_standing(msgspec.json.decode(content)) if content else {}
        except (ValueError, RecursionError) as error:
            log.error("%s is not valid; the siblings read before stay in force: %s", self._path, error)  # noqa: TRY400
        else:
            log.info("read the siblings file: entries of %d hosts keep their resolution", len(self.current))

    def _read(self) -> bytes | None:
        """Return the content, None without a file; raises OSError if it cannot be read now."""
        try:
            if self._path is None:
                return None
            with self._path.open("rb") as file:
                return file.read(SIZE_LIMIT + 1)[:SIZE_LIMIT]
        except FileNotFoundError:
            return None
