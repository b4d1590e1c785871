"""Faults of the network between the controllers and the API server, in a network of its own.

`make chaos` runs in a network namespace (`unshare --net`), whose rules nothing else sees and which ends with it. The
rules drop or reset the packets of the gateways' ports on the loopback device.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.chaos.calls import slow
from tests.chaos.faults import Scene, fault
from tests.chaos.faults_api_server import answering

NETWORK = "network"
INSIDE = "SERVICEENTRY_GUARD_CHAOS"
"""Set in the process that runs in a network namespace of its own."""


def complaint() -> str | None:
    """Say why the rules cannot be made here; None if they can."""
    return None if INSIDE in os.environ else "it needs a network namespace of its own: root, Linux, iptables"


def enter(module: str) -> None:
    """Become the same module in a network of its own, if the machine allows it."""
    if INSIDE in os.environ or sys.platform != "linux" or os.geteuid() or not shutil.which("iptables"):
        return
    again = [sys.executable, "-m", module, *sys.argv[1:]]
    os.execvpe("unshare", ["unshare", "--net", *again], {**os.environ, INSIDE: "1"})  # noqa: S606


def set_up() -> None:
    """Bring up the loopback device of the namespace, which is the only one.

    The API server looks for an address on the device of the default route.
    """
    if INSIDE in os.environ:
        for command in ("link set lo up", "address add 192.0.2.1/32 dev lo", "route add default dev lo"):
            subprocess.run(["ip", *command.split()], check=True)


@contextmanager
def rule(port: str, action: str) -> Iterator[None]:
    """A rule of the namespace for the packets to and from a port, until the end of the block."""
    with ExitStack() as stack:
        for side in ("dport", "sport"):
            words = f"INPUT -p tcp --{side} {port} {action}".split()
            subprocess.run(["iptables", "--wait", "--append", *words], check=True)
            stack.callback(subprocess.run, ["iptables", "--wait", "--delete", *words], check=True)
        yield


def port_of_leader(scene: Scene) -> str:
    """The port of the gateway that the leader uses."""
    return str(scene.arena.gateways[scene.arena.leader()].port)


@fault(NETWORK, "the leader is partitioned from the API server for 15 s", seconds=15.0, complaint=complaint)
def partitioned(scene: Scene) -> Iterator[None]:
    with rule(port_of_leader(scene), "-j DROP"):
        yield


@fault(NETWORK, "both controllers are partitioned for 15 s", seconds=15.0, complaint=complaint)
def both_partitioned(scene: Scene) -> Iterator[None]:
    first, second = (str(gateway.port) for gateway in scene.arena.gateways)
    with rule(first, "-j DROP"), rule(second, "-j DROP"):
        yield


@fault(NETWORK, "5 % of the packets are lost", seconds=15.0, complaint=complaint)
def lossy(scene: Scene) -> Iterator[None]:
    loss = "-m statistic --mode random --probability 0.05 -j DROP"
    first, second = (str(gateway.port) for gateway in scene.arena.gateways)
    with rule(first, loss), rule(second, loss):
        yield


@fault(NETWORK, "200 ms longer for each call and each event", seconds=8.0)
def delayed(scene: Scene) -> Iterator[None]:
    with answering(scene, slow(0.2)):
        for gateway in scene.arena.gateways:
            gateway.delay = 0.2
        yield
        for gateway in scene.arena.gateways:
            gateway.delay = 0.0


@fault(NETWORK, "connections are reset", seconds=6.0, complaint=complaint)
def reset(scene: Scene) -> Iterator[None]:
    for _ in range(3):
        with rule(port_of_leader(scene), "-j REJECT --reject-with tcp-reset"):
            time.sleep(1.0)
        time.sleep(1.0)
    yield


@fault(NETWORK, "half-open: what was connected gets no packet any more", seconds=75.0, complaint=complaint)
def half_open(scene: Scene) -> Iterator[None]:
    with ExitStack() as stack:
        for port in _connected(port_of_leader(scene)):
            stack.enter_context(rule(port, "-j DROP"))
        yield


def _connected(port: str) -> list[str]:
    """The ports of the controller's ends of its connections."""
    command = ["ss", "--no-header", "--numeric", "--tcp", "state", "established", f"( dport = :{port} )"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted({line.split()[2].rpartition(":")[2] for line in lines})
