"""The files that the controller writes for the webhook's pods: entries that keep their resolution, and policies.

They are mounted from a ConfigMap, which may come later than the pod, or never. Without siblings, no entry is known to
keep its resolution; the controller restores one that is changed meanwhile.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.core.rules.kept_resolutions import Standing, parse_standing
from app.policyfile import FileStamp, PolicyFile, file_stamp

SIZE_LIMIT = 1024 * 1024
"""The maximum size of a ConfigMap, in bytes."""

log = logging.getLogger(__name__)


class MountedFile:
    """A file whose content is passed on after each change; `take` raises ValueError if it is not valid."""

    def __init__(self, path: Path | None, take: Callable[[bytes], None]) -> None:
        self._path = path
        self._take = take
        self._stamp: FileStamp = None
        self.poll()

    def poll(self) -> None:
        """Take a changed file. One that was removed is empty; one that is not valid changes nothing."""
        stamp = file_stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            content = self._read()
        except OSError:
            return  # tried again at the next poll
        self._stamp = stamp
        try:
            self._take(content)
        except (ValueError, RecursionError) as error:
            log.error("%s is not valid; its previous content stays in force: %s", self._path, error)  # noqa: TRY400

    def _read(self) -> bytes:
        """Return the content, empty without a file; raises OSError if it cannot be read now."""
        try:
            if self._path is None:
                return b""
            with self._path.open("rb") as file:
                return file.read(SIZE_LIMIT)
        except FileNotFoundError:
            return b""


class SiblingsFile:
    """The stored entries that keep their resolution, which the controller writes as siblings.json."""

    def __init__(self, path: Path | None) -> None:
        self.current: Standing = {}
        self.poll = MountedFile(path, self._take).poll

    def _take(self, content: bytes) -> None:
        self.current = parse_standing(msgspec.json.decode(content)) if content else {}
        log.info("read the siblings file: entries of %d hosts keep their resolution", len(self.current))


class _Policy(msgspec.Struct):
    """One item of policies.json; the controller removes it when no replica has that policy any more."""

    text: str


class PoliciesFile:
    """The policies that replicas may have, which the controller writes as policies.json; `policy` notes them.

    If no controller has written the file yet, the installation is new.
    """

    def __init__(self, path: Path | None, policy: PolicyFile) -> None:
        self._policy = policy
        if path and not path.exists():
            policy.note_start()
        self.poll = MountedFile(path, self._take).poll

    def _take(self, content: bytes) -> None:
        found = msgspec.json.decode(content, type=list[_Policy]) if content else []
        self._policy.note_earlier(each.text for each in found)
