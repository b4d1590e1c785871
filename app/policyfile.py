"""The policy file: read strictly, parsed by the core, and read again when it changes."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from app.clock import utc_day
from app.core.policy.errors import PolicyError
from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import MAX_DEPTH, parse_policy
from app.core.rules.policy_lint import soundness

SIZE_LIMIT = 1024 * 1024
"""Maximum size of a policy file in bytes: that of a ConfigMap."""
POLL_SECONDS = 0.25
"""Seconds between two checks of the file; a change takes effect after two or three checks."""

Stamp = tuple[int, ...] | None
"""Device, inode, times in ns and size, through all links; None if there is no file."""

log = logging.getLogger(__name__)


def load_policy(path: Path | None) -> GuardPolicy:
    """Return the policy in a file, or the built-in one without a file; raises PolicyError."""
    if path is None:
        return default_policy()
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read: {error.strerror}"]) from None
    return decode_policy(content, str(path))


def decode_policy(content: bytes, name: str) -> GuardPolicy:
    """Read a policy as YAML; raises PolicyError, with the name before each problem."""
    try:
        return parse_policy(_decode(content))
    except PolicyError as error:
        raise PolicyError([f"{name}: {problem}" for problem in error.problems]) from None


class PolicyFile:
    """A policy that follows its file. If the file is missing or not valid, the previous policy stays in force.

    `told` is called after each change of the file with whether it was taken. Raises PolicyError if there is no good
    policy to start with. Without a path it is the built-in policy, which never changes. `current` is the policy as it
    applies on the day of the last poll.
    """

    def __init__(self, path: Path | None, changed: Callable[[bool], None], today: Callable[[], str] = utc_day) -> None:
        self._path = path
        self._told = changed
        self._today = today
        self._handled = self._last = file_stamp(path)
        self.current = load_policy(path).on(today())
        self._warn()

    def poll(self) -> bool:
        """Load a changed file, and return whether a different policy is in force now.

        A file is read only if it has not changed since the previous poll, because half of a policy file can be a valid
        policy too. On a new day, `current` is a new object of the same policy.
        """
        if self.current.dated:
            self.current = self.current.on(self._today())
        stamp = file_stamp(self._path)
        settled, self._last = stamp == self._last, stamp
        if not settled or stamp == self._handled:
            return False
        self._handled = stamp
        taken = self._reload()
        self._told(taken)
        return taken

    def _reload(self) -> bool:
        try:
            self.current = load_policy(self._path).on(self._today())
        except PolicyError as error:
            log.error("%s; the previous policy stays in force", error)  # noqa: TRY400 - the sentence says it
            return False
        log.info("policy %s is in force", self._path)
        self._warn()
        return True

    def _warn(self) -> None:
        for finding in soundness(self.current):
            log.warning("policy %s: %s", self._path, finding.sentence)


def file_stamp(path: Path | None) -> Stamp:
    """Return the identity of a file. It contains the ctime, to notice `chmod` and copies that keep their times."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return found and (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


class _Loader(yaml.CSafeLoader):
    """YAML 1.2: `Off` is text, there are no merge keys, and a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if twice := _repeated_key(node):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice.value} comes twice", twice.start_mark)
        return super().construct_mapping(node, deep)


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in {f"{_TAG}null", f"{_TAG}int", f"{_TAG}float"}]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_MISTAGGED = (ValueError, LookupError, AttributeError, ArithmeticError)
"""The errors of PyYAML for `!!int x`, `!!bool x`, `!!timestamp x` and the like."""


def _repeated_key(node: yaml.Node) -> yaml.ScalarNode | None:
    """Find the first duplicate key; a node that is not a mapping (`!!map []`) has none."""
    seen = set[str]()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                return key
            seen.add(key.value)
    return None


def _decode(content: bytes) -> object:
    if len(content) > SIZE_LIMIT:
        raise PolicyError([f"is larger than {SIZE_LIMIT} bytes"])
    try:
        _bound_depth(content)
        return yaml.load(content, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise PolicyError([f"is not YAML: {_one_line(error)}"]) from error
    except _MISTAGGED as error:
        raise PolicyError([f"is not YAML: a value does not have the type of its YAML tag: {error}"]) from error


def _bound_depth(content: bytes) -> None:
    """Reject deep nesting before loading, because libyaml's recursion would end the process."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise PolicyError([f"is nested deeper than {MAX_DEPTH}"])


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).replace('"<byte string>", ', "").split())
