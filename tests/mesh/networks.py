"""The networks of the mesh, in namespaces of their own: the application's, and a far one behind a firewall.

    application, sidecars, istiod, API server          upstreams
    192.0.2.1  ── veth ───────────────────────── 192.0.2.2   203.0.113.0/24

What the application sends to the far network is redirected to the sidecar, as Istio's init container does it: by
iptables, but for what has the sidecar's group. In the far network a stateful firewall forgets connections that were
idle for FORGETS_SECONDS; to what it does not know it answers nothing or a reset, by address. This process is meant to
run inside (`unshare --net --mount`): nothing here touches the machine's own networks.
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
CONNTRACK = Path("/proc/sys/net/netfilter")
NET = "203.0.113"
SILENT_NET, RESETTING_NET = f"{NET}.192/27", f"{NET}.224/27"
PROGRAMS = ("unshare", "ip", "iptables", "mount", "setpriv")
"""What the machine has to bring: util-linux, iproute2, iptables."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PLAIN, _SILENT, _RESETTING = count(1), count(193), count(225)


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
    return _address(_PLAIN, 192)


def firewalled_address(*, resets: bool) -> str:
    """The same behind the firewall, which answers what it forgot with a reset, or not at all."""
    return _address(_RESETTING, 255) if resets else _address(_SILENT, 224)


def _address(numbers: Iterator[int], end: int) -> str:
    number = next(numbers)
    if number >= end:
        raise ValueError("the far network has no more addresses of this sort")
    return f"{NET}.{number}"


def set_up(folder: Path, nameserver: str) -> None:
    """Make both networks, and have every program started from here on resolve names at `nameserver`."""
    _run("ip link set lo up")
    _run("mount -t tmpfs tmpfs /run")
    _run(f"ip netns add {FAR}")
    _run(f"ip link add near type veth peer name far netns {FAR}")
    _run("ip address add 192.0.2.1/30 dev near")
    _run("ip link set near up")
    for command in ("link set lo up", "address add 192.0.2.2/30 dev far", "link set far up"):
        _run(f"ip -netns {FAR} {command}")
    _run(f"ip -netns {FAR} route add local {NET}.0/24 dev lo")
    # A default route, though there is nothing else: kube-apiserver looks for its own address on it.
    _run("ip route add default via 192.0.2.2")
    _intercept()
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
    with _far_network():
        listener = socket.create_server((address, port), backlog=512)
    listener.setblocking(False)
    return listener


def black_hole(address: str) -> None:
    """Make an address of the far network vanish: what is sent there is neither answered nor refused."""
    _run_far(f"iptables --wait -I INPUT -d {address} -j DROP")


def _intercept() -> None:
    chosen = f"-p tcp -d {NET}.0/24 -m owner ! --gid-owner {SIDECAR_GROUP}"
    _run(f"iptables --wait -t nat -A OUTPUT {chosen} -j REDIRECT --to-ports {OUTBOUND_PORT}")


def _raise_firewall() -> None:
    unknown = "-p tcp -m conntrack --ctstate INVALID"
    _run_far(f"iptables --wait -A INPUT -d {SILENT_NET} {unknown} -j DROP")
    _run_far(f"iptables --wait -A INPUT -d {RESETTING_NET} {unknown} -j REJECT --reject-with tcp-reset")
    with _far_network():
        # A connection is known from its beginning or not at all, and forgotten when it was idle.
        (CONNTRACK / "nf_conntrack_tcp_loose").write_text("0")
        (CONNTRACK / "nf_conntrack_tcp_timeout_established").write_text(str(FORGETS_SECONDS))


@contextmanager
def _far_network() -> Iterator[None]:
    """Put this thread into the far network: sockets stay where they were made."""
    with Path("/proc/thread-self/ns/net").open() as here, Path("/run/netns", FAR).open() as far:
        _enter(far.fileno())
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
