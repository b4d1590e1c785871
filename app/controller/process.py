"""The controller: observe, decide, apply. What to do is the core's business; this is who does it, and when."""

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from app.controller.chore import Chore
from app.controller.inventory import Inventory
from app.controller.judge import Judge
from app.controller.narrator import Narrator
from app.controller.reconciler import Reconciler
from app.controller.remediation import Remediator
from app.controller.reporter import Reporter
from app.controller.siblings import Siblings, siblings_chore
from app.controller.tally import Tally
from app.controller.workers import Workers
from app.core.observed import Observed
from app.core.resources import Key, ServiceEntry
from app.kube.client import Client
from app.kube.errors import ConfigError
from app.kube.events import EventRecorder
from app.kube.lease import LeaderElector, Timing
from app.kube.resources import EMITTED, HTTP_ROUTES, SERVICE_ENTRIES, Resource
from app.kube.watch import Reflector
from app.policyfile import POLL_SECONDS, PolicyFile
from app.serving.health import HealthApp, HealthServer
from app.serving.server import ListenError
from app.settings import LEASE_NAME, ControllerSettings
from app.telemetry.logs import Level
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

T = TypeVar("T", ServiceEntry, Observed)

NAME = "serviceentry-guard"
CONNECTIONS = 32
SILENCE_LIMIT = 360.0
"""Seconds without a word from the API server, bookmarks included, after which a cache is not trusted."""
SIGNAL_SECONDS = 0.5
"""Longest time until a signal is noticed."""

MakeChore = Callable[[Client, threading.Event], Chore]
"""Makes a chore of the leader's of its fenced client and the sign that it leads."""


class Controller:
    """One process of the controller: caches and a queue that every replica fills, workers where it leads."""

    def __init__(  # noqa: PLR0913 - all that the process is made of
        self,
        client: Client,
        settings: ControllerSettings,
        policy: PolicyFile,
        metrics: ControllerMetrics,
        chores: Sequence[MakeChore] = (),
        *,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._metrics = metrics
        self._inventory = Inventory()
        self._judge = Judge()
        self._siblings = Siblings(self._inventory, self._judge, policy)
        self._tally = Tally(lambda entry: self._judge(entry, policy.current))
        self._leading = threading.Event()
        self._narrated = False  # whether what was so before this replica led was told
        self._stopping = threading.Event()
        self._elector = self._make_elector(client)
        writer = client.fenced(self._elector.remaining) if self._elector else client
        identity = self._elector.identity if self._elector else NAME
        self._events = EventRecorder(writer, NAME, identity, busy=self._emitting)
        self._narrator = Narrator(self._events, self._leading.is_set, self._judge)
        self._reconciler = Reconciler(self._inventory, writer, policy, self._narrator)
        self._workers = self._make_workers(tracer)
        self._remediator = self._make_remediator(writer, tracer)
        self._reporter = self._make_reporter(writer)
        self._chores = [make(writer, self._leading) for make in (*chores, *self._own_chores())]
        self._entries = self._reflector(client, SERVICE_ENTRIES, ServiceEntry.parse, self._entry_changed)
        self._reflectors: dict[str, Reflector[ServiceEntry] | Reflector[Observed]] = {
            SERVICE_ENTRIES.plural: self._entries
        } | {one.plural: self._reflector(client, one, Observed.parse, self._object_changed) for one in EMITTED.values()}
        self._reflectors[HTTP_ROUTES.plural] = self._reflector(
            client, HTTP_ROUTES, Observed.parse, self._object_changed, optional=True
        )
        self._show()
        self._policy_follower = threading.Thread(target=self._follow_policy, name="policy", daemon=True)

    def start(self) -> None:
        """Begin to observe, to campaign and, once every cache is filled and this replica leads, to write."""
        for reflector in self._reflectors.values():
            reflector.start()
        self._events.start()
        if self._elector:
            self._elector.start()
        else:
            self._lead()
        self._workers.start()
        self._policy_follower.start()
        self._remediator.start()
        self._reporter.start()
        for chore in self._chores:
            chore.start()

    def stop(self) -> None:
        """End writing, then give the Lease back."""
        self._stopping.set()
        self._workers.stop(self._settings.renew_deadline)
        self._policy_follower.join(self._settings.renew_deadline)
        self._remediator.stop(self._settings.renew_deadline)
        self._reporter.stop(self._settings.renew_deadline)
        for chore in self._chores:
            chore.stop(self._settings.renew_deadline)
        for reflector in self._reflectors.values():
            reflector.stop()
        self._events.stop()
        if self._elector:
            self._elector.stop()

    def unready(self) -> str | None:
        """Say why this replica could not lead, if it could not."""
        waiting = [name for name, one in self._reflectors.items() if not one.has_synced]
        if waiting:
            return f"waiting for the first list of {', '.join(waiting)}"
        silent = [name for name, one in self._reflectors.items() if one.age > SILENCE_LIMIT]
        return f"nothing was heard of {', '.join(silent)} for {SILENCE_LIMIT:.0f} s" if silent else None

    def _synced(self) -> bool:
        return all(reflector.has_synced for reflector in self._reflectors.values())

    def _make_workers(self, tracer: Tracer) -> Workers:
        return Workers(
            self._reconciler,
            self._narrator,
            self._metrics,
            tracer,
            leading=self._leading,
            synced=self._synced,
            count=self._settings.workers,
        )

    def _make_remediator(self, writer: Client, tracer: Tracer) -> Remediator:
        rate = self._settings.remediation_rate
        repair, patched = self._siblings.repair, self._siblings.patched
        return Remediator(
            writer, self._narrator, self._metrics, repair, patched, tracer=tracer, leading=self._leading, rate=rate
        )

    def _make_reporter(self, writer: Client) -> Reporter:
        return Reporter(
            writer,
            self._inventory,
            self._policy,
            self._metrics,
            leading=self._leading,
            synced=self._synced,
            judge=self._judge,
            enabled=self._settings.reports,
        )

    def _own_chores(self) -> list[MakeChore]:
        """Make the leader's tasks that follow from what is observed."""
        one = self._settings
        if not one.siblings_config_map:
            return []
        return [siblings_chore(self._siblings, one.namespace, one.siblings_config_map, one.webhook_pods)]

    def _emitting(self) -> bool:
        return self._workers.busy()

    def _reflector(
        self,
        client: Client,
        resource: Resource,
        parse: Callable[[Any], T],
        changed: Callable[[object, T | None, T | None], None],
        *,
        optional: bool = False,
    ) -> Reflector[T]:
        restarted = partial(self._metrics.api.watch_restarted, resource.plural)
        return Reflector(client, resource, parse, changed, optional=optional, on_restart=restarted)

    def _show(self) -> None:
        """Say where the metrics of what is there are read."""
        metrics, leading = self._metrics, self._leading.is_set
        metrics.queues.leading = leading
        metrics.show(metrics.findings, self._tally.findings, leading)
        metrics.show(metrics.unfixable_entries, self._tally.unfixable, leading)
        metrics.show(metrics.exemption_expiry, self._tally.expiries, leading)
        metrics.show(metrics.host_conflicts, self._workers.conflicts.counts, leading)
        metrics.show(
            metrics.managed_objects, lambda: {(kind,): self._inventory.count_managed(kind) for kind in EMITTED}, leading
        )
        metrics.events_dropped.source = lambda: {(): self._events.dropped}
        metrics.leader.labels(LEASE_NAME).set(0)

    def _make_elector(self, client: Client) -> LeaderElector | None:
        if not self._settings.leader_elect:
            return None
        return LeaderElector(
            client,
            self._settings.namespace,
            LEASE_NAME,
            on_started=self._lead,
            on_stopped=self._follow,
            timing=_timing(self._settings),
        )

    def _lead(self) -> None:
        self._narrated = False
        self._workers.open()
        self._remediator.open()
        self._reporter.open()
        self._metrics.leader.labels(LEASE_NAME).set(1)
        self._leading.set()

    def _follow(self) -> None:
        self._metrics.leader.labels(LEASE_NAME).set(0)
        self._leading.clear()

    def _follow_policy(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            before = self._policy.current
            if (taken := self._policy.poll()) or (self._entries.has_synced and not self._siblings.ready):
                self._look_at_all()
            if taken:
                self._enqueue(self._inventory.names())
            if self._policy.current is not before:  # also on another day, on which exemptions may end
                self._tally.recount()
                self._reporter.reconsider()
                self._narrator.policy_changed(self._stored(), before, self._policy.current)
            if self._leading.is_set() and self._entries.has_synced and not self._narrated:
                self._narrated = True
                self._narrator.tell_standing(self._stored(), self._policy.current)

    def _look_at_all(self) -> None:
        """Decide for every entry whether its siblings keep it, and then which are to be patched."""
        self._siblings.recount(self._stored())
        self._remediator.reconsider()

    def _stored(self) -> list[ServiceEntry]:
        return list(self._entries.store.values())

    def _entry_changed(self, _key: object, old: ServiceEntry | None, new: ServiceEntry | None) -> None:
        keys = self._inventory.put_entry(old, new)
        if self._entries.has_synced and not self._siblings.ready:
            self._look_at_all()
        siblings = self._siblings.changed(old, new)
        changed = self._entries.has_synced  # else it is no change, but what there was at the start
        if changed:
            self._workers.latency.changed(keys)
        self._enqueue(keys)
        if changed:
            self._narrator.entry_changed(old, new, self._policy.current)
        if entry := new or old:
            self._tally.put(entry.key, new)
            self._remediator.put(entry.key, new)
            self._reporter.put(entry.key, new)
        self._siblings_changed(siblings)

    def _siblings_changed(self, keys: Iterable[Key]) -> None:
        """Look again at entries that share a host with one that changed: they stand or fall together."""
        for key in keys:
            self._tally.put(key, self._entries.store.get((key.namespace, key.name)))
            self._reporter.touch(key.namespace)
        self._remediator.touch_keys(keys)

    def _object_changed(self, _key: object, old: Observed | None, new: Observed | None) -> None:
        keys = self._inventory.put_object(old, new)
        self._enqueue(key for key in keys if not self._reconciler.settled(key))

    def _enqueue(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._workers.queue.add(key)
            self._reporter.touch(key.namespace)


def run(  # noqa: PLR0913 - all that the process is made of
    settings: ControllerSettings,
    policy: PolicyFile,
    metrics: ControllerMetrics,
    chores: Sequence[MakeChore] = (),
    level: Level | None = None,
    *,
    tracer: Tracer = UNTRACED,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. `chores` are what the leader does besides."""
    level = level or Level()
    level.listen()
    try:
        client = Client.from_kubeconfig(
            str(settings.kubeconfig) if settings.kubeconfig else None,
            connections=CONNECTIONS,
            observer=metrics.api.called,
            context=tracer.headers,
        )
        controller = Controller(client, settings, policy, metrics, chores, tracer=tracer)
        app = HealthApp(metrics.registry, {"controller": controller.unready}, level=level)
        health = HealthServer(app, "0.0.0.0", settings.health_port)  # noqa: S104 - probed from outside the pod
        health.start()
    except (ConfigError, ListenError, ValueError) as error:
        log.error("%s", error)  # noqa: TRY400 - one sentence for a person, no trace
        return 2
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: end.set())
    controller.start()
    # Handlers run in this thread only, and a signal that the kernel gives to another one does not wake it.
    while not end.wait(SIGNAL_SECONDS):
        pass
    controller.stop()
    health.stop()
    client.close()
    tracer.stop()
    return 0


def _timing(settings: ControllerSettings) -> Timing:
    call = (settings.renew_deadline - settings.retry_period) / 2
    return Timing(round(settings.lease_duration), settings.renew_deadline, settings.retry_period, call)
