"""The cluster of each file.

Manifests of different clusters are never compared. A folder given as PATH is a cluster, and so is each folder that a
glob of --cluster-folders matches: a file belongs to the innermost of them. All files that are given by name and are in
none of these folders form one cluster together, because pre-commit passes a repository that way. Standard input is a
cluster of its own.
"""

import os
from collections.abc import Iterable
from glob import glob
from pathlib import Path

NAMED_FILES = ""
"""The cluster of the files that are given by name."""


class Clusters:
    """The folders that are clusters; `unmatched` has the globs that match no folder."""

    def __init__(self, paths: Iterable[str], globs: Iterable[str] = ()) -> None:
        matched = {pattern: _folders(glob(pattern, recursive=True)) for pattern in globs}  # noqa: PTH207 - Path.glob takes no absolute pattern
        self.unmatched = [pattern for pattern, folders in matched.items() if not folders]
        self._roots = _folders(paths).union(*matched.values())
        self._known: dict[Path, str] = {}

    def of(self, file: Path) -> str:
        """Return the cluster of a file."""
        if file.parent not in self._known:
            folder = _absolute(file.parent)
            nearest = next((each for each in (folder, *folder.parents) if each in self._roots), None)
            self._known[file.parent] = str(nearest) if nearest else NAMED_FILES
        return self._known[file.parent]


def _folders(paths: Iterable[str]) -> set[Path]:
    return {_absolute(path) for path in map(Path, paths) if path.is_dir()}


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))
