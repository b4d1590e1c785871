"""The admission webhook's transport: HTTPS in, one pure call for the response, HTTPS out.

It calls no API and keeps no state. A request that cannot be reviewed gets an HTTP error, never "allowed"; the API
server then applies the `failurePolicy`.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus

import uvloop
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.policyfile import POLL_SECONDS, PolicyFile
from app.serving.client_certificates import AllowedClients
from app.serving.health import HealthApp
from app.serving.server import CERTIFICATE, Listener, ListenError, Timeouts
from app.serving.tls import ServingCertificate
from app.settings import WebhookSettings
from app.telemetry.logs import Level, tell
from app.telemetry.metrics import WebhookMetrics
from app.telemetry.tracing import UNTRACED, Span, Tracer
from app.webhook.admission import Answer, BadReview, Stage
from app.webhook.bodies import SMALL_BODY, LargeBodies, read, too_large
from app.webhook.mounted import PoliciesFile, SiblingsFile
from app.webhook.record import attributes, log_line, outcome_of
from app.webhook.responses import Disconnected, RequestRejected, send_answer, send_refusal
from app.webhook.transition import answer_in_transition

FAILURE = "serviceentry-guard failed to review this object; its log has the reason"

SWITCH_SECONDS = 0.0005
"""How long the review of a large request, in a thread of its own, may keep the processor from other requests."""
DRAIN = "drain"
"""The check of /readyz that fails while the webhook drains; the chart's probe leaves it out."""

log = logging.getLogger(__name__)


class StageApp:
    """The ASGI application of one stage. `large` lets requests with large bodies of all endpoints take turns."""

    def __init__(  # noqa: PLR0913 - the dependencies of a response
        self,
        stage: Stage,
        policy: PolicyFile,
        siblings: SiblingsFile,
        metrics: WebhookMetrics,
        large: LargeBodies,
        *,
        max_body: int,
        tracer: Tracer,
        clients: AllowedClients,
    ) -> None:
        self._stage = stage
        self._span = f"admission {stage.value}"
        self._clients = clients
        self._tracer = tracer
        self._policy = policy
        self._siblings = siblings
        self._metrics = metrics
        self._large = large
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with self._tracer.serving(self._span, scope["headers"]) as span:
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        try:
            reviewed = await self._respond(scope, receive, span)
        except RequestRejected as refused:
            span.failed(refused.reason)
            self._metrics.refused(self._stage.value, refused.outcome)
            if refused.outcome != "forbidden":  # those are logged less often
                log.warning("rejected request to %s from %s: %s", scope["path"], scope["client"], refused.reason)
            await send_refusal(send, refused)
        except Disconnected:
            log.info(
                "%s from %s: client disconnected before the request body was complete", scope["path"], scope["client"]
            )
        else:
            await send_answer(send, HTTPStatus.OK, reviewed)

    async def _respond(self, scope: Scope, receive: Receive, span: Span) -> bytes:
        if self._announced(scope) <= SMALL_BODY:
            return self._noted(*self._review(await read(receive, self._max_body)), span)
        async with self._large.turn(scope["client"][0] if scope["client"] else ""):
            body = await self._large.read(receive, self._max_body)
            return self._noted(*await asyncio.to_thread(self._review, body), span)

    def _announced(self, scope: Scope) -> int:
        """Return the size of the body, or the maximum if it is not announced. Raises RequestRejected."""
        headers = dict(scope["headers"])
        if reason := self._clients.refusal(scope["state"][CERTIFICATE], scope["client"]):
            raise RequestRejected(HTTPStatus.FORBIDDEN, reason, "forbidden")
        if not _is_json(headers.get(b"content-type", b"")):
            raise RequestRejected(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json")
        size = int(headers.get(b"content-length", self._max_body))
        if size > self._max_body:
            raise too_large(self._max_body)
        return size

    def _review(self, body: bytes | bytearray) -> tuple[Answer, float, int]:
        """Return the response, the seconds that it took, and the size of the request. Raises RequestRejected."""
        began = time.perf_counter()
        try:
            reply = answer_in_transition(self._stage, body, self._policy, self._siblings.current)
        except BadReview as bad:
            raise RequestRejected(HTTPStatus(bad.status), bad.reason) from bad
        except Exception as error:
            log.exception("unexpected error in a review")
            raise RequestRejected(HTTPStatus.INTERNAL_SERVER_ERROR, FAILURE, "failed") from error
        return reply, time.perf_counter() - began, len(body)

    def _noted(self, reply: Answer, seconds: float, size: int, span: Span) -> bytes:
        """Count and log a response: in the thread of the server, because the counters are for one thread."""
        outcome = outcome_of(reply)
        self._metrics.answered(self._stage.value, reply.operation, outcome, reply.codes, seconds=seconds, size=size)
        self._tell(reply, seconds, span)
        return reply.body

    def _tell(self, reply: Answer, seconds: float, span: Span) -> None:
        if log.isEnabledFor(logging.INFO):
            line = log_line(self._stage, reply, seconds)
            tell(log, "admission", {**line, "trace": span.trace} if span.trace else line)
        if span.trace:
            span.note(attributes(reply))


class Endpoints:
    """The ASGI application: a review goes to its stage, anything else to FastAPI, which says what is wrong with it.

    FastAPI's middleware and routing would add a sixth to the time of a request.
    """

    def __init__(self, stages: Mapping[str, StageApp]) -> None:
        self._stages = stages
        routes: list[BaseRoute] = [Route(path, stage, methods=["POST"]) for path, stage in stages.items()]
        self._others = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=_NO_TELEMETRY, routes=routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        stage = self._stages.get(scope["path"]) if scope["method"] == "POST" else None
        await (stage or self._others)(scope, receive, send)


def create_app(
    settings: WebhookSettings, policy: PolicyFile, siblings: SiblingsFile, metrics: WebhookMetrics, tracer: Tracer
) -> ASGIApp:
    """Build the application: POST /mutate and /validate, and nothing else."""
    large = LargeBodies(settings.max_large, settings.large_seconds)
    clients = AllowedClients(settings.client_allowed_subject, required=settings.client_ca_file is not None)
    stages = {
        f"/{stage.value}": StageApp(
            stage, policy, siblings, metrics, large, max_body=settings.max_body, tracer=tracer, clients=clients
        )
        for stage in Stage
    }
    return Endpoints(stages)


class Webhook:
    """Both listeners of the process, from start to the end of draining."""

    def __init__(  # noqa: PLR0913 - the parts of the process
        self,
        settings: WebhookSettings,
        policy: PolicyFile,
        metrics: WebhookMetrics,
        certificate: ServingCertificate,
        level: Level | None = None,
        *,
        tracer: Tracer = UNTRACED,
    ) -> None:
        bounds = Timeouts(settings.keep_alive, settings.receive_timeout, settings.stop_seconds)
        self._siblings = SiblingsFile(settings.siblings)
        self._policies = PoliciesFile(settings.policies, policy)
        app = create_app(settings, policy, self._siblings, metrics, tracer)
        ready = {"webhook": lambda: self.unready, DRAIN: self._drains, "certificate": certificate.unready}
        self._health_app = HealthApp(metrics.registry, ready, level=level)
        self.health = Listener(self._health_app, settings.bind_address, settings.health_port, bounds)
        self.admission = Listener(app, settings.bind_address, settings.port, bounds, certificate.context)
        self._drain_seconds = settings.drain_seconds
        self._policy = policy
        self._certificate = certificate
        metrics.certificate_expiry.set_function(lambda: certificate.not_after)
        metrics.certificate_up_to_date.set_function(lambda: certificate.up_to_date)
        self.unready: str | None = "starting"
        self._draining = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Serve until stop() is called, then drain: unready immediately, reachable for the configured time."""
        async with self.health, self.admission:
            watching = [asyncio.create_task(self._certificate.watch()), asyncio.create_task(self._follow_policy())]
            self.unready = None
            log.info(
                "serving admission on %s, health checks and metrics on %s", self.admission.address, self.health.address
            )
            self._policy.announce()
            await self._stop.wait()
            self._draining = True
            self._health_app.end()
            self.admission.drain()
            log.info("draining for %g s", self._drain_seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._drain_seconds)
            for task in watching:
                task.cancel()
        log.info("stopped")

    def _drains(self) -> str | None:
        return "draining" if self._draining else None

    async def _follow_policy(self) -> None:
        """Follow the policy and the controller's files. A thread reads them, so that no review waits for a file."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for file in (self._policy, self._siblings, self._policies):
                try:
                    await asyncio.to_thread(file.poll)
                except Exception:
                    log.exception("unexpected error while following a file; it goes on")

    def stop(self) -> None:
        """Drain, then stop. A second call stops immediately."""
        if self._stop.is_set():
            self._hurry.set()
            self.admission.hurry()
            self.health.hurry()
        self._stop.set()


def serve(
    settings: WebhookSettings,
    policy: PolicyFile,
    metrics: WebhookMetrics,
    level: Level | None = None,
    tracer: Tracer = UNTRACED,
) -> int:
    """Run the webhook until SIGTERM or SIGINT; returns the exit code: 2 if it could not start."""
    level = level or Level()
    level.listen()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        certificate = ServingCertificate(
            settings.tls_cert_file,
            settings.tls_private_key_file,
            settings.service_name,
            client_ca=settings.client_ca_file,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(Webhook(settings, policy, metrics, certificate, level, tracer=tracer)))
    except ListenError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it, a traceback adds nothing
        return 2
    finally:
        tracer.stop()
    return 0


async def _run(webhook: Webhook) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, webhook.stop)
    await webhook.run()


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() in {b"", b"application/json"}


_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""No environment variable may send the reviewed objects elsewhere."""
