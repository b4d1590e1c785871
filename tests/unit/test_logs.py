"""What is logged is one line, whatever it contains; how much is logged can be changed at run time."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.logs import (
    TRACE_MARK,
    JsonFormatter,
    Level,
    LogFormat,
    LogLevel,
    TextFormatter,
    Writer,
    configure,
    tell,
)

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
hostile = st.text(st.characters() | st.sampled_from(LINE_ENDS + '\x1b\x7f\x9b"\\=\ud800'), max_size=40)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was found, beyond its levels: it is the process's."""
    root = logging.getLogger()
    before = root.handlers[:], sys.excepthook, signal.getsignal(signal.SIGUSR1)
    switches = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    yield
    logging.captureWarnings(capture=False)
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = switches
    root.handlers[:], sys.excepthook = before[0], before[1]
    signal.signal(signal.SIGUSR1, before[2])


def logged(formatter: JsonFormatter | TextFormatter, message: str, fields: dict[str, Any] | None = None) -> bytes:
    """What a message, or a message with fields, is written as."""
    stream = io.BytesIO()
    root = logging.getLogger()
    writer = Writer(stream, formatter)
    writer.addFilter(logging.Filter("app.test"))  # threads of other tests may log too
    root.handlers[:] = [writer]
    Level().set(LogLevel.INFO)
    log = logging.getLogger("app.test")
    if fields is None:
        log.info("%s", message)
    else:
        tell(log, message, fields)
    return stream.getvalue()


def test_a_record_is_one_json_object_with_its_fields() -> None:
    fields = {"uid": "1", "codes": ("SEG003", "SEG020"), "milliseconds": 0.25}
    line = json.loads(logged(JsonFormatter(), "admission", fields))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "app.test",
        "message": "admission",
        "uid": "1",
        "codes": ["SEG003", "SEG020"],
        "milliseconds": 0.25,
    }


def test_in_text_fields_that_are_not_plain_words_are_quoted() -> None:
    fields = {"user": 'x" verdict=allowed', "codes": ("SEG003", "SEG020"), "name": "", "verdict": "denied"}
    line = logged(TextFormatter(), "admission", fields).decode()
    said = r'admission user="x\" verdict=allowed" codes=SEG003,SEG020 name="" verdict=denied'
    assert line.endswith(f"Z INFO app.test: {said}\n")


@given(hostile, hostile)
def test_nothing_that_is_logged_makes_another_line_or_reaches_a_terminal(message: str, field: str) -> None:
    for fields in (None, {"name": field, "codes": (field,)}):
        for line in (logged(JsonFormatter(), message, fields), logged(TextFormatter(), message, fields)):
            text = line.decode()
            assert text.endswith("\n")
            assert text[:-1].isprintable()
            assert text.splitlines() == [text[:-1]]
    written = json.loads(logged(JsonFormatter(), message, {"name": field}))
    assert written["message"] == message
    assert written["name"] == field


HOSTILE = "x\n2026-01-01T00:00:00.000Z INFO app: verdict=allowed\x1b[2J\r\x85y"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_cannot_pass_for_another_record(formatter: JsonFormatter | TextFormatter) -> None:
    stream = io.BytesIO()
    logging.getLogger().handlers[:] = [Writer(stream, formatter)]
    try:
        int(HOSTILE)
    except ValueError:
        logging.getLogger("app.test").exception("failed")
    lines = stream.getvalue().decode().splitlines()
    assert "failed" in lines[0]
    assert all(line.startswith(TRACE_MARK) for line in lines[1:])
    assert all(line.isprintable() for line in lines)
    assert "ValueError" in "".join(lines)


def test_a_long_message_is_cut() -> None:
    for formatter in (JsonFormatter(), TextFormatter()):
        assert len(logged(formatter, "x" * 100_000)) < 5000


def test_a_closed_stream_does_not_fail_the_caller() -> None:
    class Gone(io.BytesIO):
        def write(self, _line: object) -> int:
            raise BrokenPipeError

    logging.getLogger().handlers[:] = [Writer(Gone(), JsonFormatter())]
    logging.getLogger("app.test").error("nobody hears it")
    tell(logging.getLogger("app.test"), "admission", {})


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_line_without_a_record_is_the_same(formatter: JsonFormatter | TextFormatter) -> None:
    fields = {"user": "a b", "codes": ("SEG003",), "milliseconds": 0.25}
    stream = io.BytesIO()
    logging.getLogger().handlers[:] = [Writer(stream, formatter)]
    Level().set(LogLevel.INFO)
    tell(logging.getLogger("app.test"), "admission", fields)
    (line,) = (line for line in stream.getvalue().splitlines(keepends=True) if b"app.test" in line)
    assert _timeless(line) == _timeless(logged(formatter, "admission", fields))


def _timeless(line: bytes) -> bytes:
    return re.sub(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z", b"", line)


def test_other_log_handlers_get_the_record_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell(logging.getLogger("app.test"), "admission", {"uid": "1"})
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["fields"]) == ("admission", {"uid": "1"})


class TestTheLevel:
    """Set by a flag, and changed while the process runs."""

    def heard(self, *names: str) -> list[str]:
        """Of these loggers, those whose debug records are written."""
        return [name for name in names if logging.getLogger(name).isEnabledFor(logging.DEBUG)]

    def test_others_are_never_heard_below_info(self) -> None:
        level = configure(LogFormat.JSON, LogLevel.DEBUG)
        assert level.current == "debug"
        assert self.heard("app.webhook.server", "urllib3.connectionpool", "kubernetes.client.rest") == [
            "app.webhook.server"
        ]
        level.set(LogLevel.ERROR)
        assert not logging.getLogger("urllib3").isEnabledFor(logging.WARNING)

    @pytest.mark.parametrize(
        ("configured", "after"), [(LogLevel.WARNING, ["debug", "warning"]), (LogLevel.DEBUG, ["info", "debug"])]
    )
    def test_is_toggled_by_a_signal(self, configured: LogLevel, after: list[str]) -> None:
        level = configure(LogFormat.JSON, configured)
        level.listen()
        seen = []
        for _ in after:
            os.kill(os.getpid(), signal.SIGUSR1)
            seen.append(level.current)
        assert seen == after


SCRIPT = """
import logging, sys, threading, warnings
from app.telemetry.logs import LogFormat, LogLevel, configure
configure(LogFormat(sys.argv[1]), LogLevel.INFO)
warnings.warn("an old thing", stacklevel=1)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def test_warnings_and_what_ends_a_thread_or_the_process_are_records_too() -> None:
    # Standard error is a pipe here, for which auto means JSON.
    done = subprocess.run([sys.executable, "-c", SCRIPT, "auto"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "critical", "critical"]
    assert "an old thing" in lines[0]["message"]
    assert [line["traceback"].splitlines()[-1] for line in lines[1:]] == [
        "ZeroDivisionError: division by zero",
        "RuntimeError: the end",
    ]
