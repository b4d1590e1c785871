"""The ports that programs of a test run listen on."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bed import ports
from tests.bed.ports import free_port, free_ports
from tests.bed.processes import is_listening

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
MANY = 300
HOLDING = f"from tests.bed.ports import free_ports; print(*free_ports({MANY}), flush=True); input()"


def test_free_ports_are_all_different_and_have_no_listener() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert not any(map(is_listening, found))


@pytest.mark.skipif(not OUTGOING.exists(), reason="the kernel does not say which ports outgoing connections get")
def test_no_outgoing_connection_gets_one_of_them() -> None:
    first, last = map(int, OUTGOING.read_text().split())
    assert not set(free_ports(20)) & set(range(first, last + 1))


def test_what_one_process_has_got_no_other_process_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take many of one small range: by chance they would have about 90 in common."""
    small = range(ports.RANGE.start, ports.RANGE.start + 2 * MANY + 400)
    monkeypatch.setattr(ports, "RANGE", small)
    script = f"from tests.bed import ports; ports.RANGE = {small!r}; {HOLDING}"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        assert len(theirs) == MANY
        assert not theirs & set(free_ports(MANY))
        other.communicate(b"\n")


def test_a_port_on_which_something_listens_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        monkeypatch.setattr(ports, "RANGE", range(taken, taken + 1))
        monkeypatch.setattr(ports, "_given", set[int]())
        with pytest.raises(OSError, match=f"fewer than 1 of the ports {taken} to {taken} are free"):
            free_port()
