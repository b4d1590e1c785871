"""The policy file: read strictly, parsed by the core, and read again when it changes."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from itertools import islice
from pathlib import Path

from app.clock import utc_day
from app.core.policy.errors import PolicyError, PolicyProblem
from app.core.policy.model import GuardPolicy, Mode, default_policy
from app.core.policy.reader import MAX_DEPTH, parse_policy
from app.core.resources.records import replace
from app.core.rules.findings import quoted
from app.core.rules.policy_lint import lint
from app.manifests.documents import Dialect, Document, Malformed, core_schema, decoded, documents, line_at
from app.manifests.layout import layout

SIZE_LIMIT = 1024 * 1024
"""Maximum size of a policy file in bytes: that of a ConfigMap."""
TRANSITION_SECONDS = 300.0
"""Seconds after a change during which other replicas may have the previous policy: kubelets differ by minutes."""
START_SECONDS = 60.0
"""Seconds after a first start in which an API server may call the validating webhook, and not yet the mutating one."""
EARLIER_LIMIT = 8
"""Maximum number of earlier policies for that time; each one reviews the entries that the current policy rejects."""
POLL_SECONDS = 0.25
"""Seconds between two checks of the file; a change takes effect after two or three checks."""

FileStamp = tuple[int, ...] | None
"""Device, inode, times in ns and size, through all links; None if there is no file."""

log = logging.getLogger(__name__)


class UnreadableFile(PolicyError):
    """A policy file that cannot be read now; its content is unknown."""


def load_policy(path: Path | None) -> GuardPolicy:
    """Return the policy in a file, or the built-in one without a file; raises PolicyError."""
    return default_policy() if path is None else decode_policy(_content(path), str(path))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise UnreadableFile(PolicyProblem(f"cannot be read: {error.strerror}", str(path))) from None


def decode_policy(content: bytes, name: str) -> GuardPolicy:
    """Read a policy as YAML 1.2; raises PolicyError, with the name and the line before each problem."""
    if len(content) > SIZE_LIMIT:
        raise PolicyError(PolicyProblem(f"is larger than {SIZE_LIMIT} bytes", name))
    try:
        text = decoded(content)
        document = _only_document(text)
    except Malformed as error:
        raise PolicyError(PolicyProblem(error.reason, f"{name}:{error.line}" if error.line else name)) from None
    try:
        return parse_policy(document.value)
    except PolicyError as error:
        raise PolicyError(*(_located(problem, document, text, name) for problem in error.problems)) from None


class PolicyFile:
    """A policy that follows its file. If the file is missing or not valid, the previous policy stays in force.

    `changed` is called after each change of the file with whether it was taken. Raises PolicyError if there is no good
    policy to start with. Without a path it is the built-in policy, which never changes. `current` is the policy as it
    applies on the day of the last poll.
    """

    def __init__(
        self,
        path: Path | None,
        changed: Callable[[bool], None],
        today: Callable[[], str] = utc_day,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._earlier: list[tuple[float, GuardPolicy]] = []
        self._noted: AbstractSet[str] = frozenset()
        self._path = path
        self._told = changed
        self._today = today
        self._handled = self._tried = self._last = file_stamp(path)
        self.current = self._load()
        self._warn()

    @property
    def earlier(self) -> list[GuardPolicy]:
        """The previous policies that other replicas may still have, the oldest first."""
        now = self._clock()
        return [policy for end, policy in self._earlier if now < end]

    def note_earlier(self, texts: Iterable[str]) -> None:
        """Note policies that other replicas may have, although this process never had them.

        Each counts from the first time that it is among `texts`. One that this version cannot read is ignored.
        """
        found = {_digest(text.encode()): text for text in texts}
        for digest in found.keys() - self._noted - {self.digest}:
            try:
                self._add_earlier(decode_policy(found[digest].encode(), f"policy {digest}").on(self._today()))
            except PolicyError as error:
                log.warning("ignoring a policy of other replicas: %s", error)
        self._noted = found.keys()

    def note_start(self) -> None:
        """Note that no replica had a policy before: the installation is new.

        An API server learns of each webhook and of the addresses behind their Service at its own time.
        """
        self._add_earlier(default_policy().in_mode(Mode.OFF).on(self._today()), START_SECONDS)

    def poll(self) -> bool:
        """Load a changed file, and return whether a different policy is in force now.

        A file is read only if it has not changed since the previous poll, because half of a policy file can be a valid
        policy too. A file that cannot be read is tried again at each poll, and reported once. On a new day, `current`
        is a new object of the same policy.
        """
        if self.current.dated:
            self.current = self.current.on(self._today())
        stamp = file_stamp(self._path)
        settled, self._last = stamp == self._last, stamp
        if not settled or stamp == self._handled:
            return False
        first, self._tried = stamp != self._tried, stamp
        try:
            self._reload()
        except PolicyError as error:
            if not isinstance(error, UnreadableFile):
                self._handled = stamp
            if first:
                log.error("%s; the previous policy stays in force", error)  # noqa: TRY400 - the sentence says it
                self._told(False)
            return False
        self._handled = stamp
        self._told(True)
        return True

    def _reload(self) -> None:
        before = self.current
        self.current = self._load()
        self._add_earlier(before)
        self.announce()
        self._warn()

    def _add_earlier(self, policy: GuardPolicy, seconds: float = TRANSITION_SECONDS) -> None:
        now = self._clock()
        current = [(end, earlier) for end, earlier in self._earlier if now < end]
        self._earlier = [*current, (now + seconds, policy)][-EARLIER_LIMIT:]

    def announce(self) -> None:
        """Log which policy is in force: people compare replicas by the digest of the file."""
        log.info(
            "policy %s is in force: mode %s, %d overrides for namespaces, SHA-256 %s",
            self._path or "(built-in)",
            self.current.mode.value,
            len(self.current.namespaces),
            self.digest,
        )

    def _load(self) -> GuardPolicy:
        content = _content(self._path) if self._path else b""
        policy = decode_policy(content, str(self._path)) if self._path else default_policy()
        self.text = decoded(content)
        self.digest = _digest(content)
        return policy.on(self._today())

    def _warn(self) -> None:
        for finding in lint(self.current):
            log.warning("policy %s: %s", self._path, finding.sentence)


def _digest(content: bytes) -> str:
    """Return the first half of a SHA-256, which is enough to tell policies apart."""
    return hashlib.sha256(content).hexdigest()[:12]


def file_stamp(path: Path | None) -> FileStamp:
    """Return the identity of a file. It contains the ctime, to notice `chmod` and copies that keep their times."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return found and (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


_DIALECT = Dialect(core_schema, MAX_DEPTH, strict=True)


def _only_document(text: str) -> Document:
    """Return the only document of a policy file, without a value if the file is empty; raises Malformed."""
    found = list(islice(documents(text, _DIALECT), 2))
    if len(found) > 1:
        raise Malformed("has more than one document", line_at(text, found[1].start))
    document = found[0] if found else Document(None, 0, 0)
    if document.twice:
        key, line = document.twice
        raise Malformed(f"has the key {quoted(key)} twice in one object", line)
    return document


def _located(problem: PolicyProblem, document: Document, text: str, name: str) -> PolicyProblem:
    """Put the file name before a problem, with the line of its field, or of the nearest existing parent."""
    if not problem.place:
        return replace(problem, place=name)
    written = layout(text, document.start, document.end).find(problem.place)
    return PolicyProblem(str(problem), f"{name}:{line_at(text, written.start)}")
