"""The errors of a call to the API server."""

from collections.abc import Mapping
from typing import Any

import msgspec


class KubeError(Exception):
    """Base class of the errors that app.kube raises."""


class ConfigError(KubeError):
    """No usable kubeconfig; the message is one sentence."""


class ApiError(KubeError):
    """A call failed.

    `status` is the HTTP status code (0: no response), `reason` the reason of the `meta/v1` Status (`NotFound`,
    `Expired`, ...), `message` its message.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} ({self.status} {self.reason})"


class Invalid(ApiError):
    """400 or 422: the same request will fail again."""


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""


class Forbidden(ApiError):
    """403: RBAC or an admission webhook rejects it."""


class NotFound(ApiError):
    """404: the object, its namespace or its type does not exist."""


class WriteConflict(ApiError):
    """409: a precondition failed, the resource version is outdated, or another field manager owns a field."""


class AlreadyExists(WriteConflict):
    """409 on create: the name is taken."""


class Gone(ApiError):
    """410: the resource version or continue token is too old; list again."""


class Throttled(ApiError):
    """429: the API server asks for a retry after `retry_after` seconds."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float) -> None:
        super().__init__(status, reason, message)
        self.retry_after = retry_after


class ServerError(ApiError):
    """5xx: the API server, or a webhook that it called, failed."""


class Unreachable(ApiError):
    """No response: connection refused, reset or timed out. A write may or may not have happened."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class Fenced(ApiError):
    """The Lease expired before the write was sent, or before its response came. In the second case it may be stored."""

    def __init__(self, message: str = "not written: this replica no longer leads") -> None:
        super().__init__(0, "Fenced", message)


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: WriteConflict,
    410: Gone,
    422: Invalid,
}
_DEFAULT_RETRY_AFTER = 1.0
_LONGEST_TEXT = 200


def from_response(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error of a response that is not 2xx; `body` is a Status as JSON, or whatever a proxy wrote.

    `retry_after` is the header's value, which the API server sends in seconds.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict) or document.get("kind") != "Status":
        text = " ".join(body.decode(errors="replace").split())
        document = {"message": text[:_LONGEST_TEXT] or f"HTTP status {status} without an explanation"}
    return from_status({**document, "code": status}, retry_after)


def from_status(document: Mapping[str, Any], retry_after: str | None = None) -> ApiError:
    """The error of a decoded `meta/v1` Status, as a watch delivers it in an ERROR event."""
    status = document.get("code") or 500
    reason = document.get("reason") or "Unknown"
    message = document.get("message") or reason
    if status == 429:
        return Throttled(status, reason, message, _seconds(retry_after))
    other = ServerError if status >= 500 else ApiError
    kind = AlreadyExists if reason == "AlreadyExists" else _BY_STATUS.get(status, other)
    return kind(status, reason, message)


def _seconds(retry_after: str | None) -> float:
    if retry_after and retry_after.isdigit():
        return float(retry_after)
    return _DEFAULT_RETRY_AFTER
