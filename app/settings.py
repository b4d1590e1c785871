"""Process settings: frozen values that the command line creates once and passes down."""

from dataclasses import dataclass
from pathlib import Path

from app.core.resources.service_entry import MANAGER

MEBIBYTE = 1024 * 1024
LEASE_NAME = f"{MANAGER}-controller"
"""The name of the leader's Lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """The settings of `serviceentry-guard webhook`; times in seconds, sizes in bytes."""

    tls_cert_file: Path
    tls_private_key_file: Path
    service_name: str | None = None
    """The name that the certificate must be valid for; None: any."""
    client_ca_file: Path | None = None
    """CA certificates of the clients that may call; None: any client may."""
    client_allowed_subject: tuple[str, ...] = ()
    """Names of these clients in their certificates; empty: any name."""
    policy: Path | None = None
    siblings: Path | None = None
    """File with the stored entries that keep their resolution, which the controller writes."""
    policies: Path | None = None
    """File with the policies that replicas may have, which the controller writes."""
    bind_address: str = "::"
    """All addresses of IPv4 and IPv6, because the address of a pod is known only at run time."""
    port: int = 9443
    health_port: int = 8081
    keep_alive: float = 120.0
    """Longer than the 90 s for which the API server keeps an idle connection, so that the sending side closes it."""
    receive_timeout: float = 10.0
    max_large: int = 64
    """Maximum number of requests with large bodies (over 64 KiB): one is in memory, the others wait."""
    large_seconds: float = 3.0
    """From the beginning of reading such a body to its last byte."""
    max_body: int = 7 * MEBIBYTE
    """Two objects of etcd's maximum of 3 MiB (new and old), and the envelope."""
    drain_seconds: float = 10.0
    stop_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """The settings of `serviceentry-guard controller`; times in seconds, those of the Lease as in client-go."""

    policy: Path | None = None
    kubeconfig: Path | None = None
    health_port: int = 8081
    leader_elect: bool = True
    namespace: str = MANAGER
    workers: int = 8
    remediation_rate: float = 10.0
    """Maximum number of existing entries patched per second."""
    reports: bool = True
    """Whether PolicyReports are written, if the cluster has their CRD."""
    prometheus: str | None = None
    """Address of a Prometheus with Istio's metrics; None: the calls of hosts are not compared."""
    prometheus_token_file: Path | None = None
    prometheus_ca_file: Path | None = None
    metrics_matcher: tuple[str, ...] = ()
    siblings_config_map: str = ""
    """ConfigMap that the controller writes for the webhook's pods: siblings and policies; empty: none is written."""
    pod_name: str = ""
    """The pod of this process. A Lease that an earlier container of the pod held is free."""
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """How the controller's leader keeps certificates; times in seconds. Raises ValueError where they do not fit."""

    namespace: str
    webhook_service: str
    tls_secret: str
    ca_secret: str
    webhook_configuration: str
    ca_lifetime: float
    lifetime: float
    propagation: float
    """Until every webhook pod serves the certificate of the Secret: a kubelet may take two minutes to update it."""

    def __post_init__(self) -> None:
        if self.lifetime > self.ca_lifetime:
            raise ValueError("--certificate-lifetime must not be longer than --ca-lifetime")
        if self.lifetime / 3 <= self.propagation + self.trust_seconds:
            raise ValueError("--certificate-lifetime must be longer than four times --certificate-propagation")

    @property
    def dns_name(self) -> str:
        """The name that the API server calls the Service by."""
        return f"{self.webhook_service}.{self.namespace}.svc"

    @property
    def trust_seconds(self) -> float:
        """Seconds from the write of a caBundle until every API server must have it."""
        return self.propagation / 6


@dataclass(frozen=True, slots=True, kw_only=True)
class UninstallSettings:
    """The settings of `serviceentry-guard uninstall`."""

    namespace: str = MANAGER
    webhook_configuration: str = MANAGER
    revoke: str = ""
    """Name of the RoleBinding and the ClusterRoleBinding of the controllers, which are deleted; empty: none."""
    secrets: tuple[str, ...] = ()
    remove_objects: bool = False
    timeout: float = 600.0
    """Seconds for all of it."""
