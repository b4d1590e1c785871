"""Every instrument, built explicitly: a process makes one set and passes it down. Label values are bounded."""

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

from app.telemetry.collectors import FastCounter, FastHistogram, Reading, Readings
from app.telemetry.instruments import ApiMetrics, QueueMetrics, ReconcileMetrics, leader_gauge

AdmissionOutcome = Literal["allowed", "patched", "denied", "malformed", "overloaded", "failed"]

OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
ADMISSION_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
BODY_BUCKETS = tuple(float(1024 * 4**power) for power in range(7))
EMISSION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class PolicyMetrics:
    """What both processes tell of their policy file."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._generation = Gauge(
            "serviceentry_guard_policy_generation",
            "How many policies were in force since the start, with the one that is.",
            registry=registry,
        )
        self._successful = Gauge(
            "serviceentry_guard_policy_last_reload_successful",
            "1 while the policy in force is what the file says, 0 after a changed file was refused.",
            registry=registry,
        )
        self._failures = Counter(
            "serviceentry_guard_policy_reload_failures_total",
            "Changes of the policy file that were refused.",
            registry=registry,
        )
        self._generation.set(1)
        self._successful.set(1)

    def reloaded(self, successful: bool) -> None:
        """Count a changed policy file, and whether it was taken."""
        self._successful.set(successful)
        (self._generation if successful else self._failures).inc()


class WebhookMetrics:
    """What the webhook counts; times in seconds, sizes in bytes. All in the thread of its event loop."""

    def __init__(self) -> None:
        self.registry = _registry()
        self.policy = PolicyMetrics(self.registry)
        self._requests = FastCounter(
            self.registry,
            "serviceentry_guard_admission_requests_total",
            "Admission requests by stage (mutate, validate), operation (other: what got no review) and verdict: "
            "allowed, patched, denied; malformed, overloaded and failed are HTTP errors.",
            ("stage", "operation", "verdict"),
        )
        self._findings = FastCounter(
            self.registry,
            "serviceentry_guard_admission_findings_total",
            "Admission requests with a finding, by its code too; a request with several counts for each.",
            ("stage", "operation", "verdict", "code"),
        )
        self._duration = FastHistogram(
            self.registry,
            "serviceentry_guard_admission_duration_seconds",
            "Time from a whole request to its answer, by stage.",
            ("stage",),
            ADMISSION_BUCKETS,
        )
        self._sizes = FastHistogram(
            self.registry,
            "serviceentry_guard_admission_request_body_size_bytes",
            "Size of the bodies of requests that were reviewed, by stage.",
            ("stage",),
            BODY_BUCKETS,
        )
        self._tell_of_certificate()

    def answered(  # noqa: PLR0913 - all that there is to count of a request
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

    def _tell_of_certificate(self) -> None:
        self.certificate_expiry = Gauge(
            "serviceentry_guard_certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, in seconds since the epoch; 0 while there is none.",
            registry=self.registry,
        )
        self.certificate_up_to_date = Gauge(
            "serviceentry_guard_certificate_last_reload_successful",
            "1 while the serving certificate is the one in the files, 0 while what they hold cannot be served.",
            registry=self.registry,
        )


class RotationMetrics:
    """What the controller tells of the certificates that it keeps."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.issued = Counter(
            "serviceentry_guard_certificates_issued_total",
            "Certificates made: authority or serving.",
            ("kind",),
            registry=registry,
        )
        self.bundles = Counter(
            "serviceentry_guard_ca_bundle_writes_total",
            "Webhook configurations that were given another caBundle.",
            registry=registry,
        )
        self.failures = Counter(
            "serviceentry_guard_certificate_failures_total",
            "Passes over the certificates that failed and are made again.",
            registry=registry,
        )


class BackstopMetrics:
    """What the controller tells of the admission policies that it keeps in the API server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.writes = Counter(
            "serviceentry_guard_backstop_writes_total",
            "Objects of the backstop that were applied or deleted.",
            registry=registry,
        )
        self.failures = Counter(
            "serviceentry_guard_backstop_failures_total",
            "Passes over the backstop that failed and are made again.",
            registry=registry,
        )


class ControllerMetrics:
    """What the controller counts; times in seconds."""

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
            "Existing ServiceEntries by what became of an attempt to patch them: patched or failed.",
            ("result",),
            registry=self.registry,
        )
        self.emission_latency = Histogram(
            "serviceentry_guard_emission_latency_seconds",
            "Time from a ServiceEntry's creation or change, as it is watched, until the API server acknowledged the "
            "last write for one of its hosts.",
            buckets=EMISSION_BUCKETS,
            registry=self.registry,
        )
        self._read_entries()
        self._read_objects()

    def _read_entries(self) -> None:
        """Make the metrics of ServiceEntries and hosts; the controller says where they are read."""
        self.findings = Reading(
            self.registry,
            "serviceentry_guard_findings",
            "ServiceEntries with a finding, as they are stored. Shown by the leader only.",
            ("namespace", "code"),
        )
        self.unfixable_entries = Reading(
            self.registry,
            "serviceentry_guard_unfixable_entries",
            "ServiceEntries that cannot become DNS as they are stored. Shown by the leader only.",
            ("namespace",),
        )
        self.exemption_expiry = Reading(
            self.registry,
            "serviceentry_guard_exemption_expiry_timestamp_seconds",
            "When the first exemption of a namespace ends, in seconds since the epoch; in the past while an entry was "
            "not written since. Shown by the leader only.",
            ("namespace",),
        )
        self.limited_entries = Reading(
            self.registry,
            "serviceentry_guard_limited_entries",
            "ServiceEntries for which nothing is emitted because they exceed a limit of the policy, by the limit. "
            "Shown by the leader only.",
            ("namespace", "limit"),
        )
        self.cut_hosts = Reading(
            self.registry,
            "serviceentry_guard_cut_hosts",
            "Hosts whose calls end at a timeout more often than before the guard's VirtualService came; with "
            "--prometheus. Shown by the leader only.",
            ("namespace",),
        )

    def _read_objects(self) -> None:
        """Make the metrics of objects and Events; the controller says where they are read."""
        self.managed_objects = Reading(
            self.registry,
            "serviceentry_guard_managed_objects",
            "Objects that the guard owns. Shown by the leader only.",
            ("kind",),
        )
        self.host_conflicts = Reading(
            self.registry,
            "serviceentry_guard_host_conflicts",
            "Objects that are not emitted because another object claims the host. Shown by the leader only.",
            ("namespace",),
        )
        self.host_claims = Reading(
            self.registry,
            "serviceentry_guard_host_claims",
            "Objects that are not emitted because an object of another namespace claims the host, by that object: the "
            "ten with the most of each namespace, and all others together. Shown by the leader only.",
            ("namespace", "claimant"),
        )
        self.refused_objects = Reading(
            self.registry,
            "serviceentry_guard_refused_objects",
            "Names of objects that wait because the API server refuses writes in their namespace. Shown by the leader "
            "only.",
            ("namespace",),
        )
        self.events_dropped = Reading(
            self.registry,
            "serviceentry_guard_events_dropped_total",
            "Events that were not written: too many at once, or refused by the API server.",
            counter=True,
        )

    def show(self, reading: Reading, read: Callable[[], Readings], leading: Callable[[], bool]) -> None:
        """Read a metric from there while this replica leads: others know the same, and it would be counted twice."""
        reading.source = lambda: read() if leading() else {}


def _registry() -> CollectorRegistry:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which is never read
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Info("serviceentry_guard_build", "What is running.", registry=registry)
    build.info({"version": version("serviceentry-guard")})
    return registry
