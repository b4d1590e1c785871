"""A firewall that forgets connections that were idle for 6 s, and then drops or resets what comes on them."""

import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tests.mesh import networks
from tests.mesh.application import Application, Outcomes, at_once
from tests.mesh.arms import IDLE_TIMEOUT, KEEPALIVE, OFF, ORIGINATION, RECIPE
from tests.mesh.manifests import HTTP, TLS, entry
from tests.mesh.mesh import Mesh
from tests.mesh.networks import Pod
from tests.mesh.trial import Findings, Trial

TITLE = "3 A firewall that forgets idle connections"
TITLE_TLS = "4 The same on a TLS port"
IDLE_SECONDS = networks.FORGETS_SECONDS + 2.0
APPLICATIONS, ROUNDS, REQUESTS = 8, 3, 21
PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Idleness:
    """How the firewall treats what it forgot, and how the applications return to their connections."""

    resets: bool
    one_first: bool = False

    def __str__(self) -> str:
        way = "resets" if self.resets else "drops"
        return f"{way} what was idle for {networks.FORGETS_SECONDS} s, " + (
            "one request first" if self.one_first else "8 requests at once"
        )

    @property
    def slug(self) -> str:
        """A label for host names."""
        return ("reset" if self.resets else "drop") + ("-one" if self.one_first else "")


TLS_IDLENESSES = (Idleness(resets=False), Idleness(resets=True))
IDLENESSES = (Idleness(resets=False), Idleness(resets=False, one_first=True), Idleness(resets=True))


def trials(mesh: Mesh) -> Iterator[Trial]:
    """An HTTP port: with and without the DestinationRule."""
    for idleness in IDLENESSES:
        for arm in (OFF, RECIPE, IDLE_TIMEOUT, KEEPALIVE):
            host = f"http-{idleness.slug}.{arm.namespace}.example"
            address = networks.firewalled_address(resets=idleness.resets)
            mesh.names.point(host, mesh.upstream(address).address)
            work = partial(idle, partial(Application, mesh.pod(arm), host), idleness)
            yield Trial(TITLE, str(idleness), arm, [entry(arm, host, HTTP)], work, waits=True)


def encrypted_trials(mesh: Mesh) -> Iterator[Trial]:
    """A TLS passthrough port; and the sidecar speaking TLS, behind which retries reach the requests."""
    for idleness in TLS_IDLENESSES:
        for arm in (OFF, RECIPE, IDLE_TIMEOUT, KEEPALIVE):
            host = f"tls-{idleness.slug}.{arm.namespace}.example"
            _open(mesh, host, idleness)
            work = partial(idle, partial(_encrypted, mesh.pod(arm), host, mesh.trusting_tls()), idleness)
            yield Trial(TITLE_TLS, f"passthrough: {idleness}", arm, [entry(arm, host, TLS)], work, waits=True)
    for idleness in TLS_IDLENESSES:
        host = f"tls-{idleness.slug}.{ORIGINATION.namespace}.example"
        _open(mesh, host, idleness)
        manifest = entry(ORIGINATION, host, {**HTTP, "targetPort": 443})
        work = partial(idle, partial(Application, mesh.pod(ORIGINATION), host), idleness)
        yield Trial(TITLE_TLS, f"origination: {idleness}", ORIGINATION, [manifest], work, waits=True)


def _open(mesh: Mesh, host: str, idleness: Idleness) -> None:
    address = networks.firewalled_address(resets=idleness.resets)
    mesh.names.point(host, mesh.upstream(address, 443, tls=mesh.serving_tls(host)).address)


def _encrypted(pod: Pod, host: str, tls: ssl.SSLContext) -> Application:
    return Application(pod, host, 443, tls=tls)


def idle(connect: partial[Application], idleness: Idleness) -> Findings:
    """Each application sends some requests, is idle, and goes on, on a connection of its own."""
    outcomes, together = Outcomes(), threading.Barrier(APPLICATIONS)

    def ask(number: int) -> None:
        application = connect()
        for each in range(ROUNDS):
            if each:
                together.wait()
                time.sleep(IDLE_SECONDS)
            if idleness.one_first and number == 0:
                outcomes.send(application, "GET", "/")
            if idleness.one_first:
                together.wait()
            for _ in range(REQUESTS):
                outcomes.send(application, "GET", "/")
                time.sleep(PAUSE)

    at_once([partial(ask, number) for number in range(APPLICATIONS)])
    return Findings(outcomes)
