"""The address behind a name changes, and the old one goes away: at once, 2 s later, 30 s later."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.mesh import networks
from tests.mesh.application import Application, Outcome, Outcomes, at_once
from tests.mesh.arms import AGE, BACKOFF, IDLE_TIMEOUT, OFF, RECIPE, Arm
from tests.mesh.manifests import HTTP, TLS, entry
from tests.mesh.mesh import Mesh
from tests.mesh.stalls import Stalls
from tests.mesh.trial import Findings, Trial
from tests.mesh.upstreams import Upstream

TITLE = "2 Addresses that rotate"
ANSWER_SECONDS = 0.3
APPLICATIONS, PAUSE = 3, 0.1
PATIENCE = 30.0
"""Seconds: as long as the VirtualService's time-out lets a request be tried."""
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 6.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """How an address goes: how long after the answer changed, with requests in flight or not, with a reset or not."""

    gone_after: float
    in_flight: bool
    ttl: int = 1
    silently: bool = False
    companion: bool = False
    """Whether the name has a second address that stays."""
    encrypted: bool = False
    """Whether the port is TLS passthrough."""

    def __str__(self) -> str:
        load = "requests in flight" if self.in_flight else "idle meanwhile"
        way = "vanishes" if self.silently else "refuses"
        more = ", one of two addresses" if self.companion else ""
        port = "TLS passthrough: " if self.encrypted else ""
        return f"{port}old address {way} {self.gone_after:g} s after DNS moved, TTL {self.ttl} s{more}, {load}"

    @property
    def slug(self) -> str:
        """A label for host names."""
        flags = (("f", self.in_flight), ("v", self.silently), ("c", self.companion), ("e", self.encrypted))
        return f"move{self.gone_after:g}-{self.ttl}" + "".join(letter for letter, held in flags if held)


USUAL = [Rotation(after, in_flight) for after in (0, 2, 30) for in_flight in (True, False)]
VANISHING = Rotation(2, in_flight=True, silently=True)
LONG_TTL = Rotation(0, in_flight=True, ttl=10)
ONE_OF_TWO = Rotation(0, in_flight=True, ttl=10, companion=True)
ENCRYPTED = Rotation(8, in_flight=True, encrypted=True)
UNREMEMBERED = Rotation(8, in_flight=True, ttl=0)


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Guard off, the recipe, and pauses between tries that outlast the record."""
    for rotation in (*USUAL, VANISHING, LONG_TTL, ONE_OF_TWO, UNREMEMBERED):
        for arm in (OFF, RECIPE, BACKOFF) if rotation.gone_after == 0 else (OFF, RECIPE):
            yield _trial(mesh, rotation, arm)
    for arm in (OFF, RECIPE, IDLE_TIMEOUT, AGE):
        yield _trial(mesh, ENCRYPTED, arm)


def _trial(mesh: Mesh, rotation: Rotation, arm: Arm) -> Trial:
    host = f"{rotation.slug}.{arm.namespace}.example"
    behaviour: dict[str, Any] = {"port": 80, "delay": ANSWER_SECONDS}
    connect, port = partial(Application, mesh.pod(arm), host, patience=PATIENCE), HTTP
    if rotation.encrypted:
        behaviour |= {"port": 443, "tls": mesh.serving_tls(host)}
        connect, port = partial(Application, mesh.pod(arm), host, 443, tls=mesh.trusting_tls(), patience=PATIENCE), TLS
    old, new = (mesh.upstream(networks.plain_address(), **behaviour) for _ in range(2))
    companions = [mesh.upstream(networks.plain_address(), **behaviour).address] if rotation.companion else []
    mesh.names.point(host, old.address, *companions, ttl=rotation.ttl)

    def turn() -> None:
        if arm.labels:
            mesh.names.wait_until_asked(
                host, mesh.pod(arm).address
            )  # the worst moment: the old answer is remembered for its whole TTL
        mesh.names.point(host, new.address, *companions, ttl=rotation.ttl)
        time.sleep(rotation.gone_after)
        if rotation.silently:
            networks.black_hole(old.address)
        else:
            old.cut()

    work = in_flight if rotation.in_flight else _work_idle
    return Trial(
        TITLE, str(rotation), arm, [entry(arm, host, port)], partial(work, rotation, connect, turn, new), waits=True
    )


def in_flight(
    rotation: Rotation, connect: Callable[[], Application], turn: Callable[[], None], new: Upstream
) -> Findings:
    """Send requests all the time, while the address goes, and count the failures during a stall of the machine."""
    outcomes, delayed, stop = Outcomes(), list[Outcome](), threading.Event()

    def ask(number: int) -> None:
        application = connect()
        time.sleep(number * (ANSWER_SECONDS + PAUSE) / APPLICATIONS)
        while not stop.wait(PAUSE):
            outcome = outcomes.send(application, "GET", "/")
            if outcome.error and stalls.since(time.monotonic() - outcome.seconds):
                delayed.append(outcome)

    def rotate() -> None:
        time.sleep(BEFORE_SECONDS)
        turn()
        time.sleep(rotation.ttl + AFTER_SECONDS)
        stop.set()

    with Stalls() as stalls:
        at_once([rotate, *(partial(ask, number) for number in range(APPLICATIONS))])
    return Findings(outcomes, facts={"seen by new": new.seen.total(), "delayed": len(delayed)})


def _work_idle(
    _rotation: Rotation, connect: Callable[[], Application], turn: Callable[[], None], new: Upstream
) -> Findings:
    """A persistent connection stands open, without a request, while the address goes."""
    outcomes, application = Outcomes(), connect()
    outcomes.send(application, "GET", "/")
    turn()
    for _ in range(30):
        outcomes.send(application, "GET", "/")
        time.sleep(PAUSE)
    return Findings(outcomes, facts={"seen by new": new.seen.total()})
