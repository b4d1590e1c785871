"""The stored entries that keep their resolution, as the controller writes them into a file that is mounted here.

Without the file, and until there is one, none is known: what slips through then, the controller puts back.
"""

import logging
from pathlib import Path

import msgspec

from app.core.rules.kept_resolutions import Standing, parse_standing
from app.policyfile import FileStamp, file_stamp

SIZE_LIMIT = 1024 * 1024
"""What a ConfigMap can hold, in bytes."""

log = logging.getLogger(__name__)


class SiblingsFile:
    """Entries that follow their file: a broken one is left aside, and what was known before stays so."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: FileStamp = None
        self.current: Standing = {}
        self.poll()

    def poll(self) -> None:
        """Take up a changed file."""
        stamp = file_stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp, content = stamp, self._read()
        try:
            self.current = parse_standing(msgspec.json.decode(content)) if content else {}
        except (ValueError, RecursionError) as error:
            log.error("%s is not valid; the siblings read before stay in force: %s", self._path, error)  # noqa: TRY400
        else:
            log.info("read the siblings file: entries of %d hosts keep their resolution", len(self.current))

    def _read(self) -> bytes | None:
        try:
            if self._path is None:
                return None
            with self._path.open("rb") as file:
                return file.read(SIZE_LIMIT + 1)[:SIZE_LIMIT]
        except OSError:
            return None
