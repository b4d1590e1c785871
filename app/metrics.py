"""Every instrument, built explicitly: a process makes one set and passes it down. Label values are bounded."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

Outcome = Literal["allowed", "patched", "denied", "malformed", "overloaded", "failed"]

OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
ADMISSION_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05)
EMISSION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


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
    """What the webhook counts; times in seconds."""

    def __init__(self) -> None:
        self.registry = _registry()
        self.policy = PolicyMetrics(self.registry)
        self._requests = Counter(
            "serviceentry_guard_admission_requests_total",
            "Admission requests by what became of them.",
            ("operation", "verdict"),
            registry=self.registry,
        )
        self._findings = Counter(
            "serviceentry_guard_admission_findings_total",
            "Findings told at admission, by their code.",
            ("code",),
            registry=self.registry,
        )
        self._duration = Histogram(
            "serviceentry_guard_admission_duration_seconds",
            "Time from a whole request to its answer.",
            buckets=ADMISSION_BUCKETS,
            registry=self.registry,
        )
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

    def answered(self, operation: str, outcome: Outcome, codes: Iterable[str], seconds: float) -> None:
        """Count a review that was answered; operations that Kubernetes does not have count as `other`."""
        self._requests.labels(operation if operation in OPERATIONS else "other", outcome).inc()
        for code in codes:
            self._findings.labels(code).inc()
        self._duration.observe(seconds)

    def refused(self, outcome: Outcome) -> None:
        """Count a request that got no review."""
        self._requests.labels("other", outcome).inc()


class ControllerMetrics:
    """What the controller counts; times in seconds."""

    def __init__(self) -> None:
        self.registry = _registry()
        self.policy = PolicyMetrics(self.registry)
        self.host_conflicts = Gauge(
            "serviceentry_guard_host_conflicts",
            "Hosts that get no VirtualService of ours because another object claims them.",
            ("namespace",),
            registry=self.registry,
        )
        self.findings = Gauge(
            "serviceentry_guard_findings",
            "ServiceEntries with a finding, as they are stored.",
            ("namespace", "code"),
            registry=self.registry,
        )
        self.managed_objects = Gauge(
            "serviceentry_guard_managed_objects", "Objects that we own.", ("kind",), registry=self.registry
        )
        self._count_work()

    def _count_work(self) -> None:
        self.reconcile_errors = Counter(
            "serviceentry_guard_reconcile_errors_total",
            "Reconciliations that failed and are tried again.",
            registry=self.registry,
        )
        self.remediations = Counter(
            "serviceentry_guard_remediations_total",
            "Existing ServiceEntries by what became of an attempt to patch them: patched or failed.",
            ("result",),
            registry=self.registry,
        )
        self.workqueue_depth = Gauge(
            "serviceentry_guard_workqueue_depth", "Keys that wait for a worker.", registry=self.registry
        )
        self.is_leader = Gauge(
            "serviceentry_guard_is_leader", "1 while this process holds the Lease.", registry=self.registry
        )
        self.emission_latency = Histogram(
            "serviceentry_guard_emission_latency_seconds",
            "Time from the event that changed what should exist to the last write for it.",
            buckets=EMISSION_BUCKETS,
            registry=self.registry,
        )


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Info("serviceentry_guard_build", "What is running.", registry=registry)
    build.info({"version": version("serviceentry-guard")})
    return registry
