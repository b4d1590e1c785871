"""The reconciler of the certificates: it checks and repairs Secrets and webhook configurations.

Between two passes it only remembers since when a state lasts. So the next pass repairs a deleted or damaged object, and
a new leader continues where the last one ended. `ca_rotation` decides what the state should be.
"""

import base64
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.certificates.ca_rotation import (
    BUNDLE,
    Authority,
    Data,
    Terms,
    due,
    is_current,
    make_serving,
    read_serving,
    serving_data,
    succeed,
)
from app.certificates.probe import Address, ProbeError, Trouble, probe
from app.certificates.webhookconfig import address, bundle, decode, trusting, webhooks
from app.certificates.x509 import Pair, UnreadablePair
from app.controller.leadership import Leadership
from app.controller.worker import LeaderTask
from app.core.resources.service_entry import MANAGED_BY, MANAGER
from app.kube.apply import locked
from app.kube.client import Client, Object
from app.kube.errors import NotFound
from app.kube.resources import CONFIGURATIONS, SECRETS
from app.settings import CertificateSettings
from app.telemetry.metrics import RotationMetrics

log = logging.getLogger(__name__)

CHECK_SECONDS = 4.0
"""Time between two passes, at most: something broken is repaired within it and a call or two."""
LONGEST_GAP = 60.0
"""Seconds without a pass, as while another replica led, after which nothing is taken to have stayed as it was."""
PROBES = 5
"""Fresh connections, each to any replica, that must all find the new authority's certificate."""

Probe = Callable[[Address, bytes], None]


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as it was read; `manifest` is empty where there is none."""

    name: str
    manifest: Object

    @property
    def data(self) -> Data:
        """Its contents, without values that are not base64."""
        return dict(_decoded(self.manifest.get("data") or {}))


class Steady:
    """For how long a value has been the same, as seen here. After a pause in looking it counts as new."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._value: object = None
        self._since = self._seen = clock()

    def seconds(self, value: object) -> float:
        """Take the value of now, and return for how many seconds it has been that."""
        now = self._clock()
        if value != self._value or now - self._seen > LONGEST_GAP:
            self._value, self._since = value, now
        self._seen = now
        return now - self._since


class Rotation:
    """Keeps authority, serving certificate and `caBundle`s. One pass is `check`.

    `now` gives the time as certificates have it, `clock` seconds that no correction of that time touches.
    """

    def __init__(  # noqa: PLR0913 - what is kept, and every clock and connection that a test replaces
        self,
        client: Client,
        settings: CertificateSettings,
        metrics: RotationMetrics,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        probe: Probe = probe,
    ) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._probe = probe
        self._terms = Terms(
            settings.dns_name, timedelta(seconds=settings.ca_lifetime), timedelta(seconds=settings.lifetime)
        )
        self._trusted = Steady(clock)
        self._served = Steady(clock)
        self._missing: set[str] = set()
        self._stale = False
        self.interval = min(CHECK_SECONDS, settings.lifetime / 20)

    def check(self) -> float:
        """Look at everything and repair it, in the order that loses no request; returns seconds until the next pass."""
        configurations = list(self._configurations())
        authority_secret, serving_secret = (
            self._secret(name) for name in (self._settings.ca_secret, self._settings.tls_secret)
        )
        bundles = [bundle(webhook) for configuration in configurations for webhook in webhooks(configuration)]
        authority = self._authority(authority_secret, [*bundles, serving_secret.data.get(BUNDLE, b"")])
        changed = [self._trust(configuration, authority.bundle) for configuration in configurations]
        trusted_for = self._trusted.seconds(None if any(changed) else authority.bundle)
        serving = self._serve(serving_secret, authority, trusted_for)
        if authority.previous and self._is_served(serving, authority, configurations):
            self._write(authority_secret, authority.alone().data)
            log.info("removed previous CA certificates from caBundle: no pod serves a certificate of them")
        return self.interval

    def _authority(self, secret: Secret, trusted: list[bytes]) -> Authority:
        found = succeed(secret.data, trusted, self._terms, self._now())
        if found.reason:
            self._write(secret, found.authority.data)
            self._metrics.issued.labels("authority").inc()
            log.info("issued CA certificate in Secret %s: %s", secret.name, found.reason)
        return found.authority

    def _serve(self, secret: Secret, authority: Authority, trusted_for: float) -> Pair:
        """Return the certificate that the Secret holds from now on; it is from a new authority once that is trusted."""
        now = self._now()
        try:
            serving = read_serving(secret.data, authority, self._terms, now)
        except UnreadablePair as error:
            return self._issue(secret, authority, str(error))
        reason = due(serving, authority, now)
        if reason and trusted_for >= self._settings.trust_seconds:
            return self._issue(secret, authority, reason)
        if secret.data.get(BUNDLE) != authority.bundle:
            self._write(secret, {**secret.data, BUNDLE: authority.bundle})
        return serving

    def _issue(self, secret: Secret, authority: Authority, reason: str) -> Pair:
        serving = make_serving(authority, self._terms, self._now())
        self._write(secret, serving_data(serving, authority), "kubernetes.io/tls")
        self._metrics.issued.labels("serving").inc()
        end = serving.certificate.not_valid_after_utc
        log.info(
            "issued serving certificate in Secret %s, valid until %s: %s",
            secret.name,
            f"{end:%Y-%m-%d %H:%M:%S} UTC",
            reason,
        )
        return serving

    def _is_served(self, serving: Pair, authority: Authority, configurations: list[Object]) -> bool:
        """Say whether every webhook must have the serving certificate by now, and no other certificate is seen."""
        served_for = self._served.seconds(serving.certificate_pem)
        if not is_current(serving, authority) or served_for < self._settings.propagation:
            return False
        addresses = {address(webhook) for configuration in configurations for webhook in webhooks(configuration)}
        stale = [where for where in addresses if self._is_stale(where, authority.alone().bundle)]
        if stale and not self._stale:
            log.warning("%s still serves a certificate of a previous CA; keeping that CA in caBundle", stale[0])
        self._stale = bool(stale)
        return not stale

    def _is_stale(self, where: Address, authorities: bytes) -> bool:
        """Ask on fresh connections. Who cannot be reached from here, as policies may have it, is not waited for."""
        try:
            for _ in range(PROBES):
                self._probe(where, authorities)
        except ProbeError as error:
            return error.trouble is Trouble.UNTRUSTED
        return False

    def _trust(self, configuration: Object, authorities: bytes) -> bool:
        """Put the bundle into each webhook of a configuration that has another, and say whether there was one."""
        patch = trusting(configuration, authorities)
        if patch:
            resource = next(resource for resource in CONFIGURATIONS if resource.kind == configuration["kind"])
            name = configuration["metadata"]["name"]
            self._client.json_patch(resource, None, name, locked(configuration, patch))
            self._metrics.bundles.inc()
            log.info("updated caBundle of %s %s", resource.kind, name)
        return bool(patch)

    def _configurations(self) -> Iterator[Object]:
        name = self._settings.webhook_configuration
        for resource in CONFIGURATIONS:
            try:
                yield {**self._client.get(resource, None, name), "kind": resource.kind}
            except NotFound:
                if resource.kind not in self._missing:
                    log.warning("%s %s not found; cannot set caBundle", resource.kind, name)
                self._missing.add(resource.kind)
            else:
                self._missing.discard(resource.kind)

    def _secret(self, name: str) -> Secret:
        try:
            return Secret(name, self._client.get(SECRETS, self._settings.namespace, name))
        except NotFound:
            return Secret(name, {})

    def _write(self, secret: Secret, data: Data, type_: str = "Opaque") -> None:
        """Replace a Secret in the version that was read."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        identity = {"apiVersion": "v1", "kind": "Secret", "data": encoded}
        if secret.manifest:
            self._client.replace(SECRETS, {**secret.manifest, **identity})
            return
        metadata = {"name": secret.name, "namespace": self._settings.namespace, "labels": {MANAGED_BY: MANAGER}}
        self._client.create(SECRETS, {**identity, "metadata": metadata, "type": type_})


def rotation_task(
    settings: CertificateSettings, metrics: RotationMetrics
) -> Callable[[Client, Leadership], LeaderTask]:
    """Return a function that creates the leader's task from a fenced client and the leadership."""

    def make(client: Client, leadership: Leadership) -> LeaderTask:
        rotation = Rotation(client, settings, metrics)
        return LeaderTask("certificates", rotation.check, leadership, metrics.failures.inc)

    return make


def _decoded(data: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for key, text in data.items():
        if value := decode(text):
            yield key, value
