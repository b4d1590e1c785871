"""The metrics of both processes.

Each process creates one set at start and passes it down; every label has a bounded number of values.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from app.core.resources.service_entry import MANAGER
from app.telemetry.collectors import FastCounter, FastHistogram, Reading, Readings
from app.telemetry.instruments import ApiMetrics, QueueMetrics, ReconcileMetrics, leader_gauge

AdmissionOutcome = Literal["allowed", "patched", "denied", "malformed", "forbidden", "overloaded", "failed"]

OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
ADMISSION_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
BODY_BUCKETS = tuple(float(1024 * 4**power) for power in range(7))
EMISSION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class PolicyMetrics:
    """Metrics of the policy file, in both processes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._generation = Gauge(
            "serviceentry_guard_policy_generation",
            "Number of policies loaded since start.",
            registry=registry,
        )
        self._successful = Gauge(
            "serviceentry_guard_policy_last_reload_successful",
            "1 if the policy in force is the one in the file, 0 if the last change of the file failed validation.",
            registry=registry,
        )
        self._failures = Counter(
            "serviceentry_guard_policy_reload_failures_total",
            "Policy files that failed validation after an edit. The previous policy stays in force.",
            registry=registry,
        )
        self._generation.set(1)
        self._successful.set(1)

    def reloaded(self, successful: bool) -> None:
        """Count a changed policy file that was loaded or rejected."""
        self._successful.set(successful)
        (self._generation if successful else self._failures).inc()


class WebhookMetrics:
    """Metrics of the webhook; times in seconds, sizes in bytes. Only the thread of the event loop writes them."""

    def __init__(self) -> None:
        self.registry = _registry()
        self.policy = PolicyMetrics(self.registry)
        self._requests = FastCounter(
            self.registry,
            "serviceentry_guard_admission_requests_total",
            "Admission requests by stage (mutate, validate), operation (other: requests that were not reviewed) and "
            "verdict: allowed, patched or denied; malformed, forbidden, overloaded and failed are HTTP errors.",
            ("stage", "operation", "verdict"),
        )
        self._findings = FastCounter(
            self.registry,
            "serviceentry_guard_admission_findings_total",
            "Findings in admission requests, by code. A request with several findings counts once for each.",
            ("stage", "operation", "verdict", "code"),
        )
        self._duration = FastHistogram(
            self.registry,
            "serviceentry_guard_admission_duration_seconds",
            "Time from the last byte of a request to its response, by stage.",
            ("stage",),
            ADMISSION_BUCKETS,
        )
        self._sizes = FastHistogram(
            self.registry,
            "serviceentry_guard_admission_request_body_size_bytes",
            "Body size of reviewed requests, by stage.",
            ("stage",),
            BODY_BUCKETS,
        )
        self._certificate_metrics()

    def answered(  # noqa: PLR0913 - each is a label or a value of a request
        self, stage: str, operation: str, outcome: AdmissionOutcome, codes: Iterable[str], *, seconds: float, size: int
    ) -> None:
        """Count a review that was answered; operations that Kubernetes does not have count as `other`."""
        operation = operation if operation in OPERATIONS else "other"
        self._requests.inc((stage, operation, outcome))
        for code in codes:
            self._findings.inc((stage, operation, outcome, code))
        self._duration.observe((stage,), seconds)
        self._sizes.observe((stage,), size)

    def refused(self, stage: str, outcome: AdmissionOutcome) -> None:
        """Count a request that got no review."""
        self._requests.inc((stage, "other", outcome))

    def _certificate_metrics(self) -> None:
        self.certificate_expiry = Gauge(
            "serviceentry_guard_certificate_expiry_timestamp_seconds",
            "Expiry of the serving certificate in seconds since the epoch; 0 if there is no certificate.",
            registry=self.registry,
        )
        self.certificate_up_to_date = Gauge(
            "serviceentry_guard_certificate_last_reload_successful",
            "1 if the webhook serves the certificate in the files, 0 if the files cannot be used.",
            registry=self.registry,
        )


class RotationMetrics:
    """Metrics of the certificates that the controller creates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.issued = Counter(
            "serviceentry_guard_certificates_issued_total",
            "Certificates issued, by kind: authority (CA) or serving.",
            ("kind",),
            registry=registry,
        )
        self.bundles = Counter(
            "serviceentry_guard_ca_bundle_writes_total",
            "Writes of caBundle into a webhook configuration.",
            registry=registry,
        )
        self.failures = Counter(
            "serviceentry_guard_certificate_failures_total",
            "Failed attempts to check or renew the certificates. The controller retries.",
            registry=registry,
        )


class BackstopMetrics:
    """Metrics of the admission policies that the controller keeps in the API server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.writes = Counter(
            "serviceentry_guard_backstop_writes_total",
            "Admission policies and bindings of the backstop that were applied or deleted.",
            registry=registry,
        )
        self.failures = Counter(
            "serviceentry_guard_backstop_failures_total",
            "Failed attempts to sync the admission policies of the backstop. The controller retries.",
            registry=registry,
        )


class ControllerMetrics:
    """Metrics of the controller; times in seconds."""

    def __init__(self) -> None:
        self.registry = _registry()
        self.policy = PolicyMetrics(self.registry)
        self.api = ApiMetrics(self.registry)
        self.queues = QueueMetrics(self.registry)
        self.reconciles = ReconcileMetrics(self.registry)
        self.leader = leader_gauge(self.registry)
        self.rotation = RotationMetrics(self.registry)
        self.backstop = BackstopMetrics(self.registry)
        self.remediations = Counter(
            "serviceentry_guard_remediations_total",
            "Attempts to patch existing ServiceEntries, by result: patched or failed.",
            ("result",),
            registry=self.registry,
        )
        self.emission_latency = Histogram(
            "serviceentry_guard_emission_latency_seconds",
            "Time from the watch event of a created or changed ServiceEntry until the last object of one of its hosts "
            "is written.",
            buckets=EMISSION_BUCKETS,
            registry=self.registry,
        )
        self._read_entries()
        self._read_objects()

    def _read_entries(self) -> None:
        """Create the metrics of ServiceEntries and hosts; the controller sets their sources."""
        self.findings = Reading(
            self.registry,
            "serviceentry_guard_findings",
            "Stored ServiceEntries with a finding, by its code. Leader only.",
            ("namespace", "code"),
        )
        self.unfixable_entries = Reading(
            self.registry,
            "serviceentry_guard_unfixable_entries",
            "Stored ServiceEntries that cannot be given resolution DNS. Leader only.",
            ("namespace",),
        )
        self.exemption_expiry = Reading(
            self.registry,
            "serviceentry_guard_exemption_expiry_timestamp_seconds",
            "When the next exemption in a namespace ends, in seconds since the epoch. In the past if it has ended and "
            "its entry was not written since. Leader only.",
            ("namespace",),
        )
        self.limited_entries = Reading(
            self.registry,
            "serviceentry_guard_limited_entries",
            "ServiceEntries that get no VirtualService because they exceed a limit of the policy, by limit. Leader "
            "only.",
            ("namespace", "limit"),
        )
        self.cut_hosts = Reading(
            self.registry,
            "serviceentry_guard_cut_hosts",
            "Hosts whose calls time out more often since the guard created their VirtualService; needs --prometheus. "
            "Leader only.",
            ("namespace",),
        )

    def _read_objects(self) -> None:
        """Create the metrics of objects and Events; the controller sets their sources."""
        self.managed_objects = Reading(
            self.registry,
            "serviceentry_guard_managed_objects",
            "VirtualServices and DestinationRules that the guard manages. Leader only.",
            ("kind",),
        )
        self.host_conflicts = Reading(
            self.registry,
            "serviceentry_guard_host_conflicts",
            "VirtualServices and DestinationRules that are not emitted because an object that the guard does not "
            "manage claims the host. Leader only.",
            ("namespace",),
        )
        self.host_claims = Reading(
            self.registry,
            "serviceentry_guard_host_claims",
            "VirtualServices and DestinationRules that are not emitted because an object of another namespace claims "
            "the host, by that object: the ten largest claimants of each namespace, and the others as one. Leader "
            "only.",
            ("namespace", "claimant"),
        )
        self.refused_objects = Reading(
            self.registry,
            "serviceentry_guard_refused_objects",
            "Objects that are not written because the API server rejects writes in their namespace. Leader only.",
            ("namespace",),
        )
        self.events_dropped = Reading(
            self.registry,
            "serviceentry_guard_events_dropped_total",
            "Events that were dropped: over the rate limit, or rejected by the API server.",
            counter=True,
        )

    def show(self, reading: Reading, read: Callable[[], Readings], leading: Callable[[], bool]) -> None:
        """Set the source of a metric.

        It is read only while this replica leads: the standbys know the same values, and sums over pods would count
        them twice.
        """
        reading.source = lambda: read() if leading() else {}


def _registry() -> CollectorRegistry:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which is never read
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Info("serviceentry_guard_build", "What is running.", registry=registry)
    build.info({"version": version(MANAGER)})
    return registry
