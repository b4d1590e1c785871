"""The networks of the mesh, in namespaces of their own: one for each pod, and a far one behind a firewall.

    pods                           this process, istiod, API server          upstreams
    198.51.100.1, .2 … ── veth ─── 192.0.2.1 ── veth ──────── 192.0.2.2   203.0.113.0/24

What an application sends from a pod to the far network is redirected to the sidecar of the pod, as Istio's init
container does it: by iptables, but for what has the sidecar's group. In the far network a stateful firewall forgets
connections that were idle for FORGETS_SECONDS; to what it does not know it answers nothing or a reset, by address. This
process is meant to run inside (`unshare --net --mount`): nothing here touches the machine's own networks.
"""

import ctypes
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

SIDECAR_GROUP = 1337
OUTBOUND_PORT = 15001
FORGETS_SECONDS = 6
FAR = "far"
HERE = "192.0.2.1"
"""Where pods find what runs in this process's own network."""
KERNEL = Path("/proc/sys/net")
NAMED = Path("/run/netns")
NET, POD_NET = "203.0.113", "198.51.100"
ALLOCATED_NET = "240.240.0.0/16"
"""The addresses that istiod allocates to ServiceEntries with resolution DNS."""
SILENT_NET, RESETTING_NET = f"{NET}.192/27", f"{NET}.224/27"
PROGRAMS = ("unshare", "ip", "iptables", "mount", "setpriv", "nsenter")
"""What the machine has to bring: util-linux, iproute2, iptables."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PODS, _PLAIN, _SILENT, _RESETTING = count(1), count(1), count(193), count(225)


class Pod:
    """The network of a pod: what is redirected there, an Envoy in its network namespace has to take."""

    def __init__(self, namespace: str) -> None:
        self.address = _address(POD_NET, _PODS, 255)
        self._name = f"pod-{namespace}"
        near = f"pod{self.address.rpartition('.')[2]}"
        _run(f"ip netns add {self._name}")
        _run(f"ip link add {near} type veth peer name eth0 netns {self._name}")
        _run(f"ip link set {near} up")
        _run(f"ip route add {self.address} dev {near}")
        for command in (
            "link set lo up",
            f"address add {self.address}/32 dev eth0",
            "link set eth0 up",
            f"route add {HERE} dev eth0",
            f"route add default via {HERE}",
        ):
            _run(f"ip -netns {self._name} {command}")
        for taken in (f"{NET}.0/24", ALLOCATED_NET):
            chosen = f"-p tcp -d {taken} -m owner ! --gid-owner {SIDECAR_GROUP}"
            rule = f"iptables --wait -t nat -A OUTPUT {chosen} -j REDIRECT --to-ports {OUTBOUND_PORT}"
            _run(f"ip netns exec {self._name} {rule}")

    @property
    def entrance(self) -> tuple[str, ...]:
        """A command that runs the one after it in the pod, with files and users as they are here."""
        return "nsenter", f"--net={NAMED / self._name}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Put this thread into the pod: connections that it opens are those of the application."""
        with _network(self._name):
            yield


def complaint() -> str | None:
    """Say why this machine cannot have such networks; None if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the mesh needs Linux on x86-64: for other machines there is no wheel of Envoy"
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"the mesh needs the program {missing[0]}, which is not installed"
    attempt = subprocess.run(
        ["unshare", "--net", "--mount", "iptables", "--table=nat", "--list"],
        capture_output=True,
        text=True,
        check=False,
    )
    if attempt.returncode:
        return f"the mesh needs root, with network and mount namespaces of its own: {attempt.stderr.strip()}"
    return None


def plain_address() -> str:
    """An address of the far network that nothing else uses."""
    return _address(NET, _PLAIN, 192)


def firewalled_address(*, resets: bool) -> str:
    """The same behind the firewall, which answers what it forgot with a reset, or not at all."""
    return _address(NET, _RESETTING, 255) if resets else _address(NET, _SILENT, 224)


def _address(net: str, numbers: Iterator[int], end: int) -> str:
    number = next(numbers)
    if number >= end:
        raise ValueError(f"{net}.0/24 has no more addresses of this sort")
    return f"{net}.{number}"


def set_up(folder: Path, nameserver: str) -> None:
    """Make the far network, and have every program started from here on resolve names at `nameserver`."""
    _run("ip link set lo up")
    _run("mount -t tmpfs tmpfs /run")
    _run(f"ip netns add {FAR}")
    _run(f"ip link add near type veth peer name far netns {FAR}")
    _run(f"ip address add {HERE}/30 dev near")
    _run("ip link set near up")
    for command in ("link set lo up", "address add 192.0.2.2/30 dev far", "link set far up"):
        _run(f"ip -netns {FAR} {command}")
    _run(f"ip -netns {FAR} route add local {NET}.0/24 dev lo")
    _run(f"ip -netns {FAR} route add {POD_NET}.0/24 via {HERE}")
    (KERNEL / "ipv4/ip_forward").write_text("1")
    # A default route, though there is nothing else: kube-apiserver looks for its own address on it.
    _run("ip route add default via 192.0.2.2")
    _raise_firewall()
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {nameserver}\noptions timeout:1 attempts:3\n")
    target = Path("/etc/resolv.conf").resolve()
    if not target.exists():  # it was in /run, which is another one here
        target.parent.mkdir(parents=True)
        target.touch()
    _run(f"mount --bind {resolver} {target}")


def listening_socket(address: str, port: int) -> socket.socket:
    """A socket that listens in the far network."""
    with _network(FAR):
        listener = socket.create_server((address, port), backlog=512)
    listener.setblocking(False)
    return listener


def black_hole(address: str) -> None:
    """Make an address of the far network vanish: what is sent there is neither answered nor refused."""
    _run_far(f"iptables --wait -I INPUT -d {address} -j DROP")


def _raise_firewall() -> None:
    unknown = "-p tcp -m conntrack --ctstate INVALID"
    _run_far(f"iptables --wait -A INPUT -d {SILENT_NET} {unknown} -j DROP")
    _run_far(f"iptables --wait -A INPUT -d {RESETTING_NET} {unknown} -j REJECT --reject-with tcp-reset")
    with _network(FAR):
        # A connection is known from its beginning or not at all, and forgotten when it was idle.
        (KERNEL / "netfilter/nf_conntrack_tcp_loose").write_text("0")
        (KERNEL / "netfilter/nf_conntrack_tcp_timeout_established").write_text(str(FORGETS_SECONDS))


@contextmanager
def _network(name: str) -> Iterator[None]:
    """Put this thread into another network: sockets stay where they were made."""
    with Path("/proc/thread-self/ns/net").open() as here, (NAMED / name).open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(here.fileno())


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")


def _run_far(command: str) -> None:
    _run(f"ip netns exec {FAR} {command}")


def _run(command: str) -> None:
    result = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"{command}: {(result.stderr or result.stdout).strip()}")
