"""The admission webhook's transport: HTTPS in, one pure call for the answer, HTTPS out.

It calls no API and keeps no state. What cannot be answered is an HTTP error, which the API server treats as its
`failurePolicy` says: it is never "allowed".
"""

import asyncio
import contextlib
import json
import logging
import signal
import time
from http import HTTPStatus

import uvloop
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.admission import Answer, BadReview, Stage, answer
from app.health import HealthApp
from app.logs import Level, tell
from app.metrics import Outcome, WebhookMetrics
from app.policyfile import POLL_SECONDS, PolicyFile
from app.serving import CLOSE, Bounds, Listener, ListenError
from app.settings import WebhookSettings
from app.tls import ServingCertificate

FAILURE = "serviceentry-guard failed to review this object; its log has the reason"

LONGEST_NAME, LONGEST_USER = 253, 512
"""Most characters of what a request says that are logged. A service account's user name has up to 340."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that gets no review: the HTTP status and the reason to answer with."""

    def __init__(self, status: HTTPStatus, reason: str, outcome: Outcome = "malformed") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.outcome = outcome


class Disconnected(Exception):
    """The client went away before its request was whole."""


class Endpoint:
    """The ASGI application of one stage. `slots` bounds the requests under way, all endpoints together."""

    def __init__(
        self,
        stage: Stage,
        policy: PolicyFile,
        metrics: WebhookMetrics,
        slots: asyncio.Semaphore,
        max_body: int,
    ) -> None:
        self._stage = stage
        self._policy = policy
        self._metrics = metrics
        self._slots = slots
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await self._receive(scope, receive)
            reviewed = self._review(body)
        except Refused as refused:
            self._metrics.refused(self._stage.value, refused.outcome)
            log.warning("refused %s from %s: %s", scope["path"], scope["client"], refused.reason)
            await _send_refusal(send, refused)
        except Disconnected:
            log.info("disconnected %s from %s: no whole body came", scope["path"], scope["client"])
        else:
            await _send(send, HTTPStatus.OK, reviewed)

    async def _receive(self, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        if not _is_json(headers.get(b"content-type", b"")):
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json")
        if int(headers.get(b"content-length", 0)) > self._max_body:
            raise self._too_large()
        if self._slots.locked():
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests under way", "overloaded")
        async with self._slots:
            return await self._read(receive)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if len(body) > self._max_body:
                raise self._too_large()
            if not message["more_body"]:
                return bytes(body)
        raise Disconnected

    def _too_large(self) -> Refused:
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {self._max_body} bytes")

    def _review(self, body: bytes) -> bytes:
        began = time.perf_counter()
        try:
            given = answer(self._stage, body, self._policy.current)
        except BadReview as bad:
            raise Refused(HTTPStatus(bad.status), bad.reason) from bad
        except Exception as error:
            log.exception("a review failed")
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, FAILURE, "failed") from error
        self._tell(given, time.perf_counter() - began, len(body))
        return given.body

    def _tell(self, given: Answer, seconds: float, size: int) -> None:
        outcome = _outcome(given)
        self._metrics.answered(self._stage.value, given.operation, outcome, given.codes, seconds=seconds, size=size)
        if log.isEnabledFor(logging.INFO):
            tell(log, "admission", self._line(given, outcome, seconds))

    def _line(self, given: Answer, outcome: Outcome, seconds: float) -> dict[str, object]:
        return {
            "stage": self._stage.value,
            "uid": given.uid[:LONGEST_NAME],
            "operation": given.operation[:LONGEST_NAME],
            "namespace": given.namespace[:LONGEST_NAME],
            "name": given.name[:LONGEST_NAME],
            "user": given.user[:LONGEST_USER],
            "verdict": outcome,
            "codes": given.codes,
            "milliseconds": round(seconds * 1000, 3),
        }


def create_app(settings: WebhookSettings, policy: PolicyFile, metrics: WebhookMetrics) -> FastAPI:
    """Build the application: POST /mutate and /validate, and nothing else."""
    slots = asyncio.Semaphore(settings.max_concurrent)
    return FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        routes=[
            Route(
                f"/{stage.value}",
                Endpoint(stage, policy, metrics, slots, settings.max_body),
                methods=["POST"],
            )
            for stage in Stage
        ],
    )


class Webhook:
    """Both listeners of the process, from their start to the end of draining."""

    def __init__(
        self,
        settings: WebhookSettings,
        policy: PolicyFile,
        metrics: WebhookMetrics,
        certificate: ServingCertificate,
        level: Level | None = None,
    ) -> None:
        bounds = Bounds(settings.keep_alive, settings.receive_timeout, settings.stop_seconds)
        app = create_app(settings, policy, metrics)
        health = HealthApp(
            metrics.registry, {"webhook": lambda: self.unready, "certificate": certificate.unready}, level=level
        )
        self.health = Listener(health, settings.bind_address, settings.health_port, bounds)
        self.admission = Listener(app, settings.bind_address, settings.port, bounds, certificate.context)
        self._drain_seconds = settings.drain_seconds
        self._policy = policy
        self._certificate = certificate
        metrics.certificate_expiry.set_function(lambda: certificate.not_after)
        metrics.certificate_up_to_date.set_function(lambda: certificate.up_to_date)
        self.unready: str | None = "starting"
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Serve until stop() is called, then drain: unready at once, reachable for as long as settings say."""
        async with self.health, self.admission:
            watching = [asyncio.create_task(self._certificate.watch()), asyncio.create_task(self._follow_policy())]
            self.unready = None
            log.info("reviewing on %s, health on %s", self.admission.address, self.health.address)
            await self._stop.wait()
            self.unready = "draining"
            self.admission.drain()
            log.info("draining for %g s", self._drain_seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._drain_seconds)
            for task in watching:
                task.cancel()
        log.info("stopped")

    async def _follow_policy(self) -> None:
        """Keep the policy in step with its file, which a thread reads so that no review waits for it."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.to_thread(self._policy.poll)

    def stop(self) -> None:
        """Drain and end; called again, end at once."""
        if self._stop.is_set():
            self._hurry.set()
            self.admission.hurry()
            self.health.hurry()
        self._stop.set()


def serve(settings: WebhookSettings, policy: PolicyFile, metrics: WebhookMetrics, level: Level | None = None) -> int:
    """Run the webhook until SIGTERM or SIGINT; returns the exit code: 2 where it could not start."""
    level = level or Level()
    level.listen()
    try:
        certificate = ServingCertificate(settings.tls_cert_file, settings.tls_private_key_file, settings.service_name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(Webhook(settings, policy, metrics, certificate, level)))
    except ListenError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it, a traceback adds nothing
        return 2
    return 0


async def _run(webhook: Webhook) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, webhook.stop)
    await webhook.run()


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() in {b"", b"application/json"}


def _outcome(given: Answer) -> Outcome:
    if not given.allowed:
        return "denied"
    return "patched" if given.patched else "allowed"


async def _send_refusal(send: Send, refused: Refused) -> None:
    """Answer with a Kubernetes Status, which the API server quotes to whoever made the request."""
    status = {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": refused.reason,
        "code": refused.status,
    }
    await _send(send, refused.status, json.dumps(status).encode(), *_HEADERS.get(refused.status, ()))


async def _send(send: Send, status: HTTPStatus, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""No variable of the environment may send what is reviewed elsewhere."""
_HEADERS = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (CLOSE,),
    HTTPStatus.SERVICE_UNAVAILABLE: ((b"retry-after", b"1"),),
}
