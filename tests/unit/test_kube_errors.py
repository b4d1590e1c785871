"""Each failure has one class, whoever tells it."""

import msgspec
import pytest

from app.kube.errors import (
    AlreadyExists,
    ApiError,
    Fenced,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    ServerError,
    Throttled,
    Unauthorized,
    Unreachable,
    WriteConflict,
    from_response,
    from_status,
)
from app.kube.timing import backoff


def status(code: int, reason: str, message: str = "because") -> bytes:
    return msgspec.json.encode({"kind": "Status", "code": code, "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", WriteConflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
    ],
)
def test_a_status_becomes_the_error_of_its_code(code: int, reason: str, kind: type[ApiError]) -> None:
    error = from_response(code, status(code, reason))
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (code, reason, "because")
    assert str(error) == f"because ({code} {reason})"


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (None, 1.0), ("", 1.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 1.0)]
)
def test_being_throttled_says_when_to_come_back(header: str | None, seconds: float) -> None:
    error = from_response(429, status(429, "TooManyRequests"), header)
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>\n  bad gateway\n</html>", "<html> bad gateway </html>"),
        (b"\xff\xfe", "��"),
        (b"", "HTTP status 502 without an explanation"),
        (b"[]", "[]"),
        (b'{"kind": "Pod"}', '{"kind": "Pod"}'),
        (b"x" * 999, "x" * 200),
    ],
)
def test_a_response_without_a_status_is_quoted_in_one_line(body: bytes, message: str) -> None:
    error = from_response(502, body)
    assert (type(error), error.status, error.reason, error.message) == (ServerError, 502, "Unknown", message)


def test_an_error_event_without_a_code_is_a_server_error() -> None:
    error = from_status({"kind": "Status"})
    assert (type(error), error.status, error.message) == (ServerError, 500, "Unknown")


def test_every_failure_of_a_call_is_an_api_error() -> None:
    assert all(isinstance(error, ApiError) for error in (Unreachable("gone"), Fenced()))
    assert issubclass(ApiError, KubeError)
    assert issubclass(AlreadyExists, WriteConflict)


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 10.0), (5000, 10.0)])
def test_the_back_off_doubles_up_to_its_cap_and_half_of_it_is_chance(failures: int, longest: float) -> None:
    delays = [backoff(failures, base=0.5, cap=10.0) for _ in range(200)]
    assert all(longest / 2 <= delay <= longest for delay in delays)
    assert max(delays) - min(delays) > longest / 10
