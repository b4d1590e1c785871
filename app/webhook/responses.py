"""HTTP error responses to requests that get no review."""

import json
from http import HTTPStatus

from starlette.types import Send

from app.serving.server import CLOSE
from app.telemetry.metrics import AdmissionOutcome


class RequestRejected(Exception):
    """A request that gets no review: the HTTP status and the reason to answer with."""

    def __init__(self, status: HTTPStatus, reason: str, outcome: AdmissionOutcome = "malformed") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.outcome = outcome


class Disconnected(Exception):
    """The client disconnected before its request was complete."""


async def send_refusal(send: Send, refused: RequestRejected) -> None:
    """Respond with a Kubernetes Status. The API server quotes its message to its client."""
    status = {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": refused.reason,
        "code": refused.status,
    }
    await send_answer(send, refused.status, json.dumps(status).encode(), *_HEADERS.get(refused.status, ()))


async def send_answer(send: Send, status: HTTPStatus, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send JSON."""
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


_HEADERS = {
    HTTPStatus.FORBIDDEN: (CLOSE,),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (CLOSE,),
    HTTPStatus.SERVICE_UNAVAILABLE: ((b"retry-after", b"1"),),
}
