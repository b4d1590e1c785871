"""The two servers: webhook and controller."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.flags import HealthPort, LogFormatFlag, LogLevelFlag, OtlpEndpoint, PolicyFlag, flag, make_tracer, seconds
from app.cli.terminal import fail
from app.core.backstop import Engine
from app.core.problems import PolicyError
from app.logs import LogFormat, LogLevel, configure
from app.policyfile import PolicyFile

if TYPE_CHECKING:
    from app.settings import CertificateSettings


class BackstopMode(enum.Enum):
    """Which admission policies the controller keeps: those of an engine, or none."""

    NONE = "none"
    VALIDATING = Engine.VALIDATING.value
    NATIVE = Engine.NATIVE.value

    @property
    def engine(self) -> Engine | None:
        """The engine, None for none."""
        return None if self is BackstopMode.NONE else Engine(self.value)


def webhook(
    tls_cert_file: Annotated[Path, flag("--tls-cert-file", "PEM file with the serving certificate and its chain.")],
    tls_private_key_file: Annotated[Path, flag("--tls-private-key-file", "PEM file with the certificate's key.")],
    service_name: Annotated[
        str | None,
        flag(
            "--service-name",
            "DNS name that the certificate must be valid for; until it is, the webhook is not ready.",
            show_default=False,
        ),
    ] = None,
    policy: PolicyFlag = None,
    bind_address: Annotated[str, flag("--bind-address", "Address to listen on.")] = "0.0.0.0",  # noqa: S104 - in a pod
    port: Annotated[int, flag("--port", "HTTPS port of /mutate and /validate.")] = 9443,
    health_port: HealthPort = 8081,
    log_format: LogFormatFlag = LogFormat.AUTO,
    log_level: LogLevelFlag = LogLevel.INFO,
    otlp_endpoint: OtlpEndpoint = None,
) -> None:
    """Answer admission reviews over HTTPS. Needs no access to the API server."""
    from app.metrics import WebhookMetrics
    from app.settings import WebhookSettings
    from app.webhook import serve

    level = configure(log_format, log_level)
    settings = WebhookSettings(
        policy=policy,
        tls_cert_file=tls_cert_file,
        tls_private_key_file=tls_private_key_file,
        service_name=service_name,
        bind_address=bind_address,
        port=port,
        health_port=health_port,
    )
    metrics = WebhookMetrics()
    tracer = make_tracer(otlp_endpoint, "webhook")
    raise typer.Exit(serve(settings, follow_policy(policy, metrics.policy.reloaded), metrics, level, tracer))


def controller(
    policy: PolicyFlag = None,
    kubeconfig: Annotated[
        Path | None, flag("--kubeconfig", "Kubeconfig file; without it the pod's own account.", show_default=False)
    ] = None,
    health_port: HealthPort = 8081,
    leader_elect: Annotated[
        bool, flag("--leader-elect/--no-leader-elect", "Whether to write only while holding the Lease.")
    ] = True,
    namespace: Annotated[str, flag("--namespace", "Namespace of the Lease.")] = "serviceentry-guard",
    lease_duration: Annotated[
        float, flag("--lease-duration", "Seconds for which other replicas respect the Lease unrenewed.")
    ] = 15.0,
    renew_deadline: Annotated[
        float, flag("--renew-deadline", "Seconds for which the leader writes on without renewing the Lease.")
    ] = 10.0,
    retry_period: Annotated[float, flag("--retry-period", "Seconds between two attempts at the Lease.")] = 2.0,
    remediation_rate: Annotated[
        float, flag("--remediation-rate", "Existing ServiceEntries patched a second, at most.", min=0.01)
    ] = 10.0,
    reports: Annotated[
        bool, flag("--reports/--no-reports", "Whether to keep PolicyReports, where the cluster knows them.")
    ] = True,
    manage_certificates: Annotated[
        bool,
        flag(
            "--manage-certificates/--no-manage-certificates",
            "Whether to make the webhook's certificates, and to write caBundle into its configurations.",
        ),
    ] = False,
    webhook_service: Annotated[
        str, flag("--webhook-service", "Name of the webhook's Service, for which its certificates are made.")
    ] = "serviceentry-guard-webhook",
    tls_secret: Annotated[
        str, flag("--tls-secret", "Secret of the serving certificate, which the webhook's pods mount.")
    ] = "serviceentry-guard-tls",  # noqa: S107 - a name
    ca_secret: Annotated[
        str, flag("--ca-secret", "Secret of the authority, which only the controller reads.")
    ] = "serviceentry-guard-ca",  # noqa: S107 - a name
    webhook_configuration: Annotated[
        str, flag("--webhook-configuration", "Name of both webhook configurations.")
    ] = "serviceentry-guard",
    ca_lifetime: Annotated[str, flag("--ca-lifetime", "Lifetime of an authority.")] = "8760h",
    certificate_lifetime: Annotated[
        str, flag("--certificate-lifetime", "Lifetime of a serving certificate; all renew at two thirds.")
    ] = "2160h",
    certificate_propagation: Annotated[
        str,
        flag("--certificate-propagation", "Time after which every webhook pod serves what is in the Secret."),
    ] = "3m",
    backstop: Annotated[
        BackstopMode,
        flag(
            "--backstop", "Which admission policies to keep in the API server, which hold though every webhook is down."
        ),
    ] = BackstopMode.NONE,
    log_format: LogFormatFlag = LogFormat.AUTO,
    log_level: LogLevelFlag = LogLevel.INFO,
    otlp_endpoint: OtlpEndpoint = None,
) -> None:
    """Keep one VirtualService per host in step with the ServiceEntries."""
    from app.backstop import backstop_chore
    from app.controller import run
    from app.metrics import ControllerMetrics
    from app.settings import ControllerSettings

    level = configure(log_format, log_level)
    settings = ControllerSettings(
        policy=policy,
        kubeconfig=kubeconfig,
        health_port=health_port,
        leader_elect=leader_elect,
        namespace=namespace,
        lease_duration=lease_duration,
        renew_deadline=renew_deadline,
        retry_period=retry_period,
        remediation_rate=remediation_rate,
        reports=reports,
    )
    metrics = ControllerMetrics()
    follower = follow_policy(policy, metrics.policy.reloaded)
    chores = [backstop_chore(backstop.engine, follower, metrics.backstop)]
    if manage_certificates:
        from app.rotation import rotation_chore

        certificates = certificate_settings(
            namespace=namespace,
            webhook_service=webhook_service,
            tls_secret=tls_secret,
            ca_secret=ca_secret,
            webhook_configuration=webhook_configuration,
            ca_lifetime=seconds("--ca-lifetime", ca_lifetime),
            lifetime=seconds("--certificate-lifetime", certificate_lifetime),
            propagation=seconds("--certificate-propagation", certificate_propagation),
        )
        chores.append(rotation_chore(certificates, metrics.rotation))
    tracer = make_tracer(otlp_endpoint, "controller")
    raise typer.Exit(run(settings, follower, metrics, chores, level, tracer=tracer))


def certificate_settings(**settings: Any) -> "CertificateSettings":  # noqa: ANN401 - its fields
    """Take the settings of certificates, or end with what does not fit."""
    from app.settings import CertificateSettings

    try:
        return CertificateSettings(**settings)
    except ValueError as error:
        fail(str(error))


def follow_policy(path: Path | None, told: Callable[[bool], None]) -> PolicyFile:
    """Load the policy to follow its file, or end with a line for each problem."""
    try:
        return PolicyFile(path, told)
    except PolicyError as error:
        fail(*error.problems)
