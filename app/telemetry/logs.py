"""The log of both servers: one line for each record, as JSON or as text, with a level that can be changed at run time.

The content of a message, a field or a traceback cannot start a new record; in text, the lines of a traceback start
with a mark.
"""

import enum
import json
import logging
import re
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

OUR_LOGGER = "app"
"""The logger of this program.

Messages of other libraries below INFO are never logged, because they may contain secrets.
"""
LONGEST = 4096
"""Maximum number of characters of a message or a field."""
TRACE_MARK = "    | "

LogFields = Mapping[str, Any]

log = logging.getLogger(__name__)


class LogFormat(enum.StrEnum):
    """The format of lines; AUTO is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(enum.StrEnum):
    """The minimum log level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Level:
    """The log level of the process, which an operator can change at run time."""

    def __init__(self, configured: LogLevel = LogLevel.INFO) -> None:
        self._configured = configured

    @property
    def current(self) -> str:
        """The current level, by its name in the flag."""
        return logging.getLevelName(logging.getLogger(OUR_LOGGER).getEffectiveLevel()).lower()

    def set(self, level: LogLevel) -> None:
        """Set the level."""
        number = getattr(logging, level.name)
        logging.getLogger(OUR_LOGGER).setLevel(number)
        logging.getLogger().setLevel(max(number, logging.INFO))

    def toggle(self) -> None:
        """Change to debug, and from debug back to the configured level (to info, if that was debug)."""
        calm = LogLevel.INFO if self._configured is LogLevel.DEBUG else self._configured
        self.set(calm if self.current == LogLevel.DEBUG else LogLevel.DEBUG)

    def listen(self) -> None:
        """Toggle on SIGUSR1, if the platform has it; call this from the main thread."""
        if number := getattr(signal, "SIGUSR1", None):
            signal.signal(number, lambda _number, _frame: self.toggle())


def tell(logger: logging.Logger, message: str, fields: LogFields) -> None:
    """Log at level INFO, with fields; cheap enough for each request.

    No LogRecord is made for the writer of this module, and no handlers are looked for: that is half of the time.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    match logging.root.handlers:
        case [Writer(filters=[]) as writer]:
            writer.tell(logger.name, message, fields)
        case _:
            record = logging.LogRecord(logger.name, logging.INFO, "", 0, message, (), None)
            record.fields = fields
            logger.handle(record)


def configure(log_format: LogFormat, level: LogLevel) -> Level:
    """Configure logging to standard error, and return the log level."""
    # No line contains these values, and looking them up takes time (Python's logging HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    as_text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and sys.stderr.isatty())
    logging.getLogger().handlers[:] = [Writer(sys.stderr.buffer, TextFormatter() if as_text else JsonFormatter())]
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _kind, error, _trace: log.critical("ends by an exception", exc_info=error)
    threading.excepthook = lambda args: log.critical("a thread ended with an exception", exc_info=args.exc_value)
    in_force = Level(level)
    in_force.set(level)
    return in_force


class Line(msgspec.Struct, frozen=True):
    """What a line says; `when` is in seconds since the epoch."""

    when: float
    level: int
    logger: str
    message: str
    fields: LogFields
    trace: str = ""
    """The text of the traceback. It is empty if the record has no exception."""


class Writer(logging.Handler):
    """Writes each record as one line with one write; write errors are ignored."""

    lock: threading.RLock

    def __init__(self, stream: BinaryIO, formatter: "LineFormatter") -> None:
        super().__init__()
        self._stream = stream
        self._lines = formatter

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the caller holds the lock."""
        with suppress(Exception):  # there is no other place to report it, and no reason to fail
            self._write(self._lines.line(record))

    def tell(self, logger: str, message: str, fields: LogFields) -> None:
        """Write one line at level INFO."""
        with suppress(Exception):
            line = self._lines.encode(Line(time.time(), logging.INFO, logger, message, fields))
            with self.lock:
                self._write(line)

    def _write(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()


class LineFormatter(logging.Formatter, ABC):
    """Makes bytes of a record, line feed included."""

    @abstractmethod
    def encode(self, line: Line) -> bytes:
        """Return the bytes of a line."""

    def line(self, record: logging.LogRecord) -> bytes:
        """Return the line of a record."""
        fields: LogFields = getattr(record, "fields", _NONE)
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        line = Line(record.created, record.levelno, record.name, record.getMessage(), fields, trace)
        return self.encode(line)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record as text, without line feed."""
        return self.line(record).decode()[:-1]


class JsonFormatter(LineFormatter):
    """One JSON object, in ASCII: time, level, logger, message, the fields, and the traceback if there is one."""

    def encode(self, line: Line) -> bytes:
        """Return the bytes of a line."""
        members = {
            "time": datetime.fromtimestamp(line.when, UTC),
            "level": _LEVELS.get(line.level) or logging.getLevelName(line.level),
            "logger": line.logger,
            "message": _cut(line.message),
            **line.fields,
        }
        if line.trace:
            members["traceback"] = line.trace
        return _dump(members) + b"\n"


class TextFormatter(LineFormatter):
    """Time, level, logger and message, and the fields as name=value, quoted if they are not plain words."""

    def encode(self, line: Line) -> bytes:
        """Return the bytes of a line; those of a traceback start with a mark."""
        fields = "".join(f" {name}={_word(value)}" for name, value in line.fields.items())
        moment = datetime.fromtimestamp(line.when, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        message = _printable(_cut(line.message))
        first = f"{moment}Z {logging.getLevelName(line.level)} {line.logger}: {message}{fields}"
        traced = (TRACE_MARK + _printable(part) for part in line.trace.split("\n") if part)
        return "\n".join([first, *traced, ""]).encode(errors="backslashreplace")


def _dump(members: LogFields) -> bytes:
    try:
        encoded = _ENCODER.encode(members)
    except (TypeError, ValueError, OverflowError):  # a value that JSON does not have, or half of a surrogate pair
        return _escaped(members)
    # Beyond ASCII there are line separators, and characters that terminals obey.
    return encoded if encoded.isascii() and b"\x7f" not in encoded else _escaped(members)


def _escaped(members: LogFields) -> bytes:
    moment = members["time"].isoformat().replace("+00:00", "Z")
    return json.dumps({**members, "time": moment}, default=str).replace("\x7f", "\\u007f").encode()


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _word(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(_cut(text)).replace("\x7f", "\\u007f")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


_LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
_NONE: LogFields = {}
_ENCODER = msgspec.json.Encoder()
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@+-]+")
