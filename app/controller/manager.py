"""The manager of a controller: caches and queues of every replica, and work that only the leader does.

The core decides what to do; this module decides which thread does it, and when.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from app.controller.aftermath import Aftermath, aftermath_task, reader
from app.controller.dispatcher import Dispatcher
from app.controller.entry_events import EntryEvents
from app.controller.gauges import FindingGauges
from app.controller.interfaces import LeaderAware, Runnable
from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.pod_files import pod_files_task
from app.controller.reconciler import Reconciler
from app.controller.remediation import Remediator
from app.controller.reports import Reporter
from app.controller.siblings import Siblings
from app.controller.verdict_cache import VerdictCache
from app.controller.worker import LeaderTask
from app.controller.workers import Workers
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import MANAGER, ServiceEntry
from app.core.routes.observed import Observed
from app.kube.client import Client
from app.kube.events import EventRecorder
from app.kube.lease import LeaderElector, Timing
from app.kube.resources import EMITTED, HTTP_ROUTES, NAMESPACES, SERVICE_ENTRIES, Resource
from app.kube.rivals import Rivals
from app.kube.timing import CLOCK, Clock
from app.kube.watch import Reflector
from app.policyfile import POLL_SECONDS, PolicyFile
from app.settings import LEASE_NAME, ControllerSettings
from app.telemetry.metrics import ControllerMetrics
from app.telemetry.tracing import UNTRACED, Tracer

T = TypeVar("T", ServiceEntry, Observed, Namespace)
Reflectors = dict[str, Reflector[ServiceEntry] | Reflector[Observed] | Reflector[Namespace]]

log = logging.getLogger(__name__)

SILENCE_LIMIT = 360.0
"""Seconds without any event of the API server (including bookmarks) after which the replica is not ready."""

MakeTask = Callable[[Client, Leadership], LeaderTask]
"""Creates a leader's task from its fenced client and the leadership."""


class Manager:
    """Starts and stops all parts of a controller, and tells them whether this replica leads."""

    def __init__(  # noqa: PLR0913 - the parts of the process
        self,
        client: Client,
        settings: ControllerSettings,
        policy: PolicyFile,
        metrics: ControllerMetrics,
        tasks: Sequence[MakeTask] = (),
        *,
        beside: Sequence[Callable[[Siblings], MakeTask]] = (),
        tracer: Tracer = UNTRACED,
        clock: Clock = CLOCK,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._policy = policy
        self._metrics = metrics
        self._leadership = Leadership()
        self._stopping = threading.Event()
        self._elector = self._make_elector(client)
        writer = client.fenced(self._elector.remaining) if self._elector else client
        self._make_parts(writer, tracer)
        self._reflectors = self._make_reflectors(client)
        self._runnables: list[Runnable] = [self._workers, self._remediator, self._reporter]
        creators = (*tasks, *(each(self._siblings) for each in beside), *self._own_tasks())
        self._runnables += [create(writer, self._leadership) for create in creators]
        self._leader_aware: list[LeaderAware] = [self._dispatcher, self._workers, self._remediator, self._reporter]
        self._policy_follower = threading.Thread(target=self._follow_policy, name="policy", daemon=True)
        self._show()

    def start(self) -> None:
        """Start the watches and the election. Writing starts when every cache is filled and this replica leads."""
        for reflector in self._reflectors.values():
            reflector.start()
        self._events.start()
        if self._elector:
            self._elector.start()
        else:
            self._lead()
        self._policy_follower.start()
        for runnable in self._runnables:
            runnable.start()

    def stop(self) -> None:
        """Stop writing, then release the Lease."""
        self._stopping.set()
        for runnable in self._runnables:
            runnable.stop(self._settings.renew_deadline)
        self._policy_follower.join(self._settings.renew_deadline)
        for reflector in self._reflectors.values():
            reflector.stop()
        self._events.stop()
        if self._elector:
            self._elector.stop()

    def unready(self) -> str | None:
        """Say why this replica cannot lead; None if it can."""
        if self._elector and (rival := self._elector.rival):
            return f"another installation leads: {rival}"
        waiting = [name for name, reflector in self._reflectors.items() if not reflector.has_synced]
        if waiting:
            return f"waiting for the first list of {', '.join(waiting)}"
        silent = [name for name, reflector in self._reflectors.items() if reflector.age > SILENCE_LIMIT]
        return f"no watch event or list of {', '.join(silent)} for {SILENCE_LIMIT:.0f} s" if silent else None

    def _make_parts(self, writer: Client, tracer: Tracer) -> None:
        policy, leads = self._policy, self._leadership.leads
        self._inventory = Inventory(policy.current)
        judge = VerdictCache(at_waypoint=self._inventory.at_waypoint)
        self._siblings = Siblings(self._inventory, judge, policy)
        self._gauges = FindingGauges(lambda entry: judge(entry, policy.current))
        identity = self._elector.identity if self._elector else MANAGER
        self._events = EventRecorder(writer, MANAGER, identity, busy=self._emitting, clock=self._clock)
        events = EntryEvents(self._events, leads, judge)
        reconciler = Reconciler(self._inventory, writer, policy, events, self._clock)
        self._workers = self._make_workers(reconciler, events, tracer)
        self._remediator = self._make_remediator(writer, events, tracer)
        self._aftermath = self._make_aftermath()
        self._reporter = self._make_reporter(writer, judge)
        self._dispatcher = Dispatcher(
            self._inventory,
            policy,
            lambda: self._entries,
            self._synced,
            reconciler=reconciler,
            workers=self._workers,
            events=events,
            siblings=self._siblings,
            gauges=self._gauges,
            remediator=self._remediator,
            reporter=self._reporter,
        )

    def _make_workers(self, reconciler: Reconciler, events: EntryEvents, tracer: Tracer) -> Workers:
        return Workers(
            reconciler,
            events,
            self._metrics,
            tracer,
            leadership=self._leadership,
            synced=self._synced,
            count=self._settings.workers,
            clock=self._clock,
        )

    def _make_remediator(self, writer: Client, events: EntryEvents, tracer: Tracer) -> Remediator:
        return Remediator(
            writer,
            events,
            self._metrics,
            self._siblings,
            tracer=tracer,
            leadership=self._leadership,
            rate=self._settings.remediation_rate,
            clock=self._clock,
        )

    def _make_reporter(self, writer: Client, judge: VerdictCache) -> Reporter:
        return Reporter(
            writer,
            self._inventory,
            self._policy,
            self._metrics,
            leadership=self._leadership,
            synced=lambda: self._synced() and self._siblings.ready,
            judge=judge,
            also=self._aftermath.findings if self._aftermath else lambda _entry: (),
            enabled=self._settings.reports,
            clock=self._clock,
        )

    def _make_aftermath(self) -> Aftermath | None:
        if not self._settings.prometheus:
            return None
        return Aftermath(self._inventory, self._policy, self._touch_report, reader(self._settings))

    def _touch_report(self, namespace: str) -> None:
        self._reporter.touch(namespace)

    def _own_tasks(self) -> list[MakeTask]:
        """Make the leader's tasks that read the inventory."""
        settings = self._settings
        tasks: list[MakeTask] = [aftermath_task(self._aftermath)] if self._aftermath else []
        if settings.siblings_config_map:
            name = settings.siblings_config_map
            tasks.append(pod_files_task(self._siblings, self._policy, settings.namespace, name))
        return tasks

    def _make_reflectors(self, client: Client) -> Reflectors:
        entry_changed, object_changed = self._dispatcher.entry_changed, self._dispatcher.object_changed
        self._entries = self._reflector(client, SERVICE_ENTRIES, ServiceEntry.parse, entry_changed)
        found: Reflectors = {SERVICE_ENTRIES.plural: self._entries}
        found[NAMESPACES.plural] = self._reflector(
            client, NAMESPACES, Namespace.parse, self._dispatcher.namespace_changed, optional=True
        )
        for resource in (*EMITTED.values(), HTTP_ROUTES):
            optional = resource is HTTP_ROUTES
            found[resource.plural] = self._reflector(
                client, resource, Observed.parse, object_changed, optional=optional
            )
        return found

    def _reflector(
        self,
        client: Client,
        resource: Resource,
        parse: Callable[[Any], T],
        changed: Callable[[tuple[str, str], T | None, T | None], None],
        *,
        optional: bool = False,
    ) -> Reflector[T]:
        restarted = partial(self._metrics.api.watch_restarted, resource.plural)
        return Reflector(client, resource, parse, changed, optional=optional, on_restart=restarted, clock=self._clock)

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
            clock=self._clock,
            find_rival=Rivals(client, self._settings.namespace, LEASE_NAME, self._clock).find,
            pod=self._settings.pod_name,
        )

    def _show(self) -> None:
        """Set the sources of the gauges."""
        metrics, leads = self._metrics, self._leadership.leads
        metrics.queues.leading = leads
        metrics.show(metrics.findings, self._gauges.findings, leads)
        metrics.show(metrics.unfixable_entries, self._gauges.unfixable, leads)
        metrics.show(metrics.exemption_expiry, self._gauges.expiries, leads)
        metrics.show(metrics.limited_entries, self._inventory.limited_counts, leads)
        metrics.show(metrics.host_conflicts, self._workers.conflicts.counts, leads)
        metrics.show(metrics.host_claims, self._workers.conflicts.claims, leads)
        metrics.show(metrics.refused_objects, self._workers.refused_counts, leads)
        if self._aftermath:
            metrics.show(metrics.cut_hosts, self._aftermath.counts, leads)
        metrics.show(
            metrics.managed_objects, lambda: {(kind,): self._inventory.count_managed(kind) for kind in EMITTED}, leads
        )
        metrics.events_dropped.source = lambda: {(): self._events.dropped}
        metrics.leader.labels(LEASE_NAME).set(0)

    def _synced(self) -> bool:
        return all(reflector.has_synced for reflector in self._reflectors.values())

    def _emitting(self) -> bool:
        return self._workers.busy()

    def _lead(self) -> None:
        for part in self._leader_aware:
            part.open()
        self._metrics.leader.labels(LEASE_NAME).set(1)
        self._leadership.begin()

    def _follow(self) -> None:
        self._metrics.leader.labels(LEASE_NAME).set(0)
        self._leadership.end()

    def _follow_policy(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self._dispatcher.follow_policy()
                if self._leadership.leads():
                    self._dispatcher.tell_standing()
            except Exception:
                log.exception("unexpected error while following the policy; it goes on")


def _timing(settings: ControllerSettings) -> Timing:
    call = (settings.renew_deadline - settings.retry_period) / 2
    return Timing(round(settings.lease_duration), settings.renew_deadline, settings.retry_period, call)
