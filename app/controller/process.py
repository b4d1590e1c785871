"""The controller as a process: its connection to the API server, its probes, its signals."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.controller.manager import MakeTask, Manager
from app.controller.siblings import Siblings
from app.kube.client import Client
from app.kube.errors import ConfigError
from app.policyfile import PolicyFile
from app.serving.health import HealthApp, HealthServer
from app.serving.server import ANY, ListenError
from app.settings import ControllerSettings
from app.telemetry.logs import Level
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

CONNECTIONS = 32
SIGNAL_SECONDS = 0.5
"""Maximum time until a signal is noticed, in seconds."""


def run(  # noqa: PLR0913 - the parts of the process
    settings: ControllerSettings,
    policy: PolicyFile,
    metrics: ControllerMetrics,
    tasks: Sequence[MakeTask] = (),
    level: Level | None = None,
    *,
    beside: Sequence[Callable[[Siblings], MakeTask]] = (),
    tracer: Tracer = UNTRACED,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code.

    `tasks` create additional leader's tasks, `beside` those that depend on siblings.
    """
    level = level or Level()
    level.listen()
    try:
        client = Client.from_kubeconfig(
            str(settings.kubeconfig) if settings.kubeconfig else None,
            connections=CONNECTIONS,
            observer=metrics.api.called,
            context=tracer.headers,
        )
        manager = Manager(client, settings, policy, metrics, tasks, beside=beside, tracer=tracer)
        app = HealthApp(metrics.registry, {"controller": manager.unready}, level=level)
        health = HealthServer(app, ANY, settings.health_port)  # probed from outside the pod
        health.start()
    except (ConfigError, ListenError, ValueError) as error:
        log.error("%s", error)  # noqa: TRY400 - the message is enough, a traceback adds nothing
        return 2
    end = _end_on_signals()
    policy.announce()
    with ending_with_threads(end) as failed:
        manager.start()
        _wait(end)
        app.end()
        manager.stop()
    health.stop()
    client.close()
    tracer.stop()
    return 1 if failed.is_set() else 0


def _end_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: end.set())
    return end


def _wait(end: threading.Event) -> None:
    """Wait in short steps: signal handlers run in this thread only, and a signal to another thread does not wake it."""
    while not end.wait(SIGNAL_SECONDS):
        pass


@contextmanager
def ending_with_threads(end: threading.Event) -> Iterator[threading.Event]:
    """Set `end`, and the event of the block, if a thread ends by an exception.

    A controller that has lost a thread does not work any more, and looks healthy. The kubelet starts another process.
    """
    failed, before = threading.Event(), threading.excepthook

    def ended(arguments: threading.ExceptHookArgs) -> None:
        try:
            before(arguments)
        finally:
            failed.set()
            end.set()

    threading.excepthook = ended
    try:
        yield failed
    finally:
        threading.excepthook = before
