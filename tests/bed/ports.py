"""Ports for the programs of a test run: no other test and no outgoing connection of the machine gets one of them.

A port that the kernel picks may belong to somebody else a moment later: to a test of another process that asks the
kernel too, or to a connection, which gets its own port from the same range. A program that starts, or starts again,
then fails with "address already in use". So the ports are taken from a range of which the kernel gives none away, and
this process holds a lock on each until it ends.
"""

import fcntl
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

RANGE = range(20_000, 30_000)
"""Below the ports of outgoing connections (Linux: 32768 and up) and those of NodePort Services (30000 to 32767)."""
LOCKS = Path(tempfile.gettempdir(), f"serviceentry-guard-ports-{os.getuid()}")
"""An empty file: the lock on its byte N is that on port N."""
_given = set[int]()
_lock = threading.Lock()


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody uses now, all different; no later call of any process on this machine gives one of them.

    They are free again when this process has ended. Raises OSError if not as many are left.
    """
    with _lock:
        found = tuple(islice(_unused(), count))
    if len(found) < count:
        raise OSError(f"fewer than {count} of the ports {RANGE.start} to {RANGE.stop - 1} are free")
    return found


def free_port() -> int:
    """A port as `free_ports` gives it."""
    return free_ports(1)[0]


def _unused() -> Iterator[int]:
    first = os.getpid() * 97 % len(RANGE)  # processes that begin at one place would try the same ports
    for port in (*RANGE[first:], *RANGE[:first]):
        if port not in _given and _reserve(port) and _can_be_bound(port):
            _given.add(port)
            yield port


def _reserve(port: int) -> bool:
    try:
        fcntl.lockf(_descriptor(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _descriptor() -> int:
    """Open the file of the locks, once: the kernel drops them all when a process closes the file."""
    return os.open(LOCKS, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _can_be_bound(port: int) -> bool:
    """Say whether a server could listen on all addresses of this machine, those of IPv6 too where there are any."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=dual).close()
    except OSError:
        return False
    return True
