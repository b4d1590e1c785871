"""The two servers: webhook and controller."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from app.cli.flags import HealthPort, PolicyFlag, flag
from app.cli.terminal import fail
from app.core.problems import PolicyError
from app.policyfile import PolicyFile


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
) -> None:
    """Answer admission reviews over HTTPS. Needs no access to the API server."""
    from app.metrics import WebhookMetrics
    from app.settings import WebhookSettings
    from app.webhook import serve

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
    raise typer.Exit(serve(settings, follow_policy(policy, metrics.policy.reloaded), metrics))


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
) -> None:
    """Keep one VirtualService per host in step with the ServiceEntries."""
    from app.controller import run
    from app.metrics import ControllerMetrics
    from app.settings import ControllerSettings

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
    )
    metrics = ControllerMetrics()
    raise typer.Exit(run(settings, follow_policy(policy, metrics.policy.reloaded), metrics))


def follow_policy(path: Path | None, told: Callable[[bool], None]) -> PolicyFile:
    """Load the policy to follow its file, or end with a line for each problem."""
    try:
        return PolicyFile(path, told)
    except PolicyError as error:
        fail(*error.problems)
