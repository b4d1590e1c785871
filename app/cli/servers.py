"""The two servers: webhook and controller."""

import enum
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.exceptions import Exit

from app.cli import flags, serverflags
from app.cli.flags import FILE, AtLeast, choice, flag
from app.cli.serverflags import make_tracer, seconds
from app.cli.terminal import command, fail
from app.core.cel.admission_policy import Engine
from app.core.policy.errors import PolicyError
from app.core.resources.service_entry import MANAGER
from app.policyfile import PolicyFile
from app.telemetry.logs import LogFormat, LogLevel, configure

if TYPE_CHECKING:
    from app.controller.manager import MakeTask
    from app.settings import CertificateSettings


class OnFailure(enum.Enum):
    """How the API server treats a write while the webhook does not answer; KEEP leaves the configured value."""

    KEEP = "Keep"
    IGNORE = "Ignore"
    FAIL = "Fail"


OF_CERTIFICATES = ("webhook_service", "tls_secret", "ca_secret", "webhook_configuration")
LIFETIMES = {
    "ca_lifetime": "--ca-lifetime",
    "lifetime": "--certificate-lifetime",
    "propagation": "--certificate-propagation",
}
"""The flags that apply only if the controller makes certificates."""


class BackstopMode(enum.Enum):
    """Which admission policies the controller keeps: those of an engine, or none."""

    NONE = "none"
    VALIDATING = Engine.VALIDATING.value
    NATIVE = Engine.NATIVE.value

    @property
    def engine(self) -> Engine | None:
        """The engine; None for NONE."""
        return None if self is BackstopMode.NONE else Engine(self.value)


@command
@flag("--tls-cert-file", "PEM file with the serving certificate and its chain.", type=FILE, required=True)
@flag("--tls-private-key-file", "PEM file with the certificate's key.", type=FILE, required=True)
@flag("--service-name", "DNS name that the certificate must be valid for; until it is, the webhook is not ready.")
@flag(
    "--client-ca-file",
    "PEM file with the CA certificates that sign client certificates. A call without a valid client certificate is "
    "rejected. Without the flag, any client may call.",
    type=FILE,
)
@flag(
    "--client-allowed-subject",
    "Common name or alternative name that a client certificate must have. Repeat the flag for more; in the "
    "environment, separate them by spaces.",
    metavar="NAME",
    multiple=True,
)
@flags.policy()
@flag(
    "--siblings",
    "JSON file with the stored ServiceEntries that keep their resolution; the controller writes it as a ConfigMap. "
    "An entry that shares a namespace and a host with one of them is not changed alone.",
    type=FILE,
)
@flag(
    "--policies",
    "JSON file with the policies that other replicas may have; the controller writes it into the same ConfigMap. While "
    "replicas change their policy, no entry is rejected that another one left alone and that this one would repair.",
    type=FILE,
)
@flag("--bind-address", "Address to listen on; :: is all addresses of IPv6 and IPv4.", default="::")
@flag("--port", "HTTPS port of /mutate and /validate.", default=9443)
@serverflags.health_port()
@serverflags.log_format()
@serverflags.log_level()
@serverflags.otlp_endpoint()
def webhook(
    policy: Path | None,
    log_format: LogFormat,
    log_level: LogLevel,
    otlp_endpoint: str | None,
    **settings: Any,  # noqa: ANN401 - the fields of its settings
) -> None:
    """Answer admission reviews over HTTPS. Needs no access to the API server."""
    from app.settings import WebhookSettings
    from app.telemetry.metrics import WebhookMetrics
    from app.webhook.server import serve

    if settings["client_allowed_subject"] and not settings["client_ca_file"]:
        fail("--client-allowed-subject needs --client-ca-file")
    level, metrics = configure(log_format, log_level), WebhookMetrics()
    follower = follow_policy(policy, metrics.policy.reloaded)
    tracer = make_tracer(otlp_endpoint, "webhook")
    raise Exit(serve(WebhookSettings(policy=policy, **settings), follower, metrics, level, tracer))


@command
@flags.policy()
@flags.kubeconfig(without="the pod's own account")
@serverflags.health_port()
@flag("--leader-elect/--no-leader-elect", "Whether to write only while holding the Lease.", default=True)
@flags.namespace("the Lease")
@flag("--pod-name", "Name of the pod of this process, which takes over a Lease that the pod itself held.", default="")
@flag("--lease-duration", "Seconds for which other replicas respect the Lease unrenewed.", default=15.0)
@flag(
    "--renew-deadline",
    "How long the leader may keep writing when it cannot renew the Lease, in seconds.",
    default=10.0,
)
@flag("--retry-period", "Seconds between two attempts at the Lease.", default=2.0)
@flag(
    "--remediation-rate",
    "Existing ServiceEntries patched a second, at most.",
    type=AtLeast(0.01),
    default=10.0,
)
@flag(
    "--prometheus",
    "Address of a Prometheus with Istio's metrics. The leader then finds hosts whose calls end at a timeout more often "
    "than before their VirtualService came.",
    metavar="URL",
)
@flag("--prometheus-token-file", "File with the bearer token for Prometheus.", type=flags.FILE)
@flag("--prometheus-ca-file", "File with the CA certificates for Prometheus, in PEM.", type=flags.FILE)
@flag(
    "--metrics-matcher",
    "Matcher for the labels of all series, such as 'cluster=\"prod\"'. Repeat the flag for more.",
    metavar="MATCHER",
    multiple=True,
)
@flag("--reports/--no-reports", "Whether to keep PolicyReports, where the cluster knows them.", default=True)
@flag(
    "--siblings-config-map",
    "ConfigMap for the webhook with the stored ServiceEntries that keep their resolution (siblings.json) and the "
    "policies that replicas may have (policies.json); empty writes none.",
    default="",
)
@flag(
    "--pods",
    "Label selector of all pods of the installation. They are annotated when a ConfigMap or the certificate that they "
    "mount changes, so that their kubelets bring it to them at once.",
    default="",
)
@flag("--policy-config-map", "ConfigMap with the policy that those pods mount.", default="")
@flag(
    "--manage-certificates/--no-manage-certificates",
    "Whether to make the webhook's certificates, and to write caBundle into its configurations.",
    default=False,
)
@flag(
    "--webhook-service",
    "Name of the webhook's Service, for which its certificates are made.",
    default=f"{MANAGER}-webhook",
)
@flag(
    "--tls-secret",
    "Secret of the serving certificate, which the webhook's pods mount.",
    default=f"{MANAGER}-tls",
)
@flag("--ca-secret", "Secret of the authority, which only the controller reads.", default=f"{MANAGER}-ca")
@flags.webhook_configuration()
@flag("--ca-lifetime", "Lifetime of an authority.", default="8760h")
@flag(
    "--certificate-lifetime",
    "Lifetime of a serving certificate; all renew at two thirds.",
    into="lifetime",
    default="2160h",
)
@flag(
    "--certificate-propagation",
    "Time after which every webhook pod serves what is in the Secret.",
    into="propagation",
    default="3m",
)
@choice(
    "--validating-failure-policy",
    "failurePolicy of the validating webhook once it has answered and the policy enforces somewhere; until then it is "
    "Ignore. Keep changes no failurePolicy.",
    OnFailure,
    OnFailure.KEEP,
)
@choice(
    "--mutating-failure-policy",
    "The same for the mutating webhook; Keep is Ignore if the other one is not Keep.",
    OnFailure,
    OnFailure.KEEP,
)
@choice(
    "--backstop",
    "Also install the policy as ValidatingAdmissionPolicy or MutatingAdmissionPolicy; enforced even while the webhook "
    "is down.",
    BackstopMode,
    BackstopMode.NONE,
)
@serverflags.log_format()
@serverflags.log_level()
@serverflags.otlp_endpoint()
def controller(
    policy: Path | None,
    manage_certificates: bool,
    backstop: BackstopMode,
    validating_failure_policy: OnFailure,
    mutating_failure_policy: OnFailure,
    pods: str,
    policy_config_map: str,
    log_format: LogFormat,
    log_level: LogLevel,
    otlp_endpoint: str | None,
    **settings: Any,  # noqa: ANN401 - the fields of its settings, and those of certificates
) -> None:
    """Keep one VirtualService per host in step with the ServiceEntries."""
    from app.controller.admission_policies import backstop_task
    from app.controller.process import run
    from app.settings import ControllerSettings
    from app.telemetry.metrics import ControllerMetrics

    level, metrics = configure(log_format, log_level), ControllerMetrics()
    follower = follow_policy(policy, metrics.policy.reloaded)
    beside = [partial(backstop_task, backstop.engine, follower, metrics.backstop)]
    tasks: list[MakeTask] = []
    if validating_failure_policy is not OnFailure.KEEP:
        configuration = settings["webhook_configuration"]
        tasks.append(_failure_policy(follower, configuration, mutating_failure_policy, validating_failure_policy))
    if pods:
        from app.controller.pod_sync import Mounted, pod_sync_task

        secret = settings["tls_secret"] if manage_certificates else ""
        config_maps = (policy_config_map, settings["siblings_config_map"])
        tasks.append(pod_sync_task(Mounted(settings["namespace"], pods, config_maps, secret)))
    certificates = {name: settings.pop(name) for name in (*OF_CERTIFICATES, *LIFETIMES)}
    if manage_certificates:
        from app.certificates.rotation import rotation_task

        managed = certificate_settings(namespace=settings["namespace"], **certificates)
        tasks.append(rotation_task(managed, metrics.rotation))
    tracer = make_tracer(otlp_endpoint, "controller")
    given = ControllerSettings(policy=policy, **settings)
    raise Exit(run(given, follower, metrics, tasks, level, beside=beside, tracer=tracer))


def _failure_policy(follower: PolicyFile, configuration: str, mutating: OnFailure, validating: OnFailure) -> "MakeTask":
    """Return the leader's task that sets failurePolicy in the webhook configurations of this name."""
    from app.certificates.failure_policy import IGNORE, Wanted, failure_policy_task

    wanted = Wanted(configuration, IGNORE if mutating is OnFailure.KEEP else mutating.value, validating.value)
    return failure_policy_task(follower, wanted)


def certificate_settings(**given: str) -> "CertificateSettings":
    """Return the settings of certificates, or end with a sentence about the flag that does not fit."""
    from app.settings import CertificateSettings

    lifetimes: dict[str, Any] = {name: seconds(written, given[name]) for name, written in LIFETIMES.items()}
    try:
        return CertificateSettings(**{**given, **lifetimes})
    except ValueError as error:
        fail(str(error))


def follow_policy(path: Path | None, told: Callable[[bool], None]) -> PolicyFile:
    """Load the policy to follow its file, or end with a line for each problem."""
    try:
        return PolicyFile(path, told)
    except PolicyError as error:
        fail(*error.lines)
