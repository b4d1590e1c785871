"""A fresh connection, and each way in which it fails."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.certificates.probe import Address, ProbeError, Trouble, probe
from tests.bed.pki import Authority, create_authority
from tests.bed.ports import free_port
from tests.e2e.stand_in import answering, hanging_up, silent

HOST, NAME = "127.0.0.1", "webhook.guard.svc"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return create_authority("probe test")


def trouble(address: Address, bundle: bytes, seconds: float = 10.0) -> Trouble:
    with pytest.raises(ProbeError) as raised:
        probe(address, bundle, seconds)
    assert str(raised.value)
    return raised.value.trouble


def test_a_good_one_is_for_the_name_and_from_the_authority(authority: Authority, tmp_path: Path) -> None:
    with answering(tmp_path, authority.serving(NAME)) as port:
        probe(Address(HOST, port, NAME), authority.certificate, 10.0)
        assert trouble(Address(HOST, port, "other.guard.svc"), authority.certificate) is Trouble.MISNAMED
        assert trouble(Address(HOST, port), authority.certificate) is Trouble.MISNAMED
        assert trouble(Address(HOST, port, NAME), create_authority("stranger").certificate) is Trouble.UNTRUSTED


@pytest.mark.parametrize("bundle", [b"", b"garbage", b"\xff"])
def test_without_a_ca_bundle_the_probe_reports_no_bundle(bundle: bytes) -> None:
    assert trouble(Address(HOST, free_port(), NAME), bundle) is Trouble.NO_BUNDLE


def test_a_closed_port_a_port_without_tls_and_a_silent_port_are_different_troubles(
    authority: Authority, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for port, expected in (
            (free_port(), Trouble.REFUSED),
            (stack.enter_context(answering(tmp_path)), Trouble.NO_TLS),
            (stack.enter_context(hanging_up()), Trouble.NO_TLS),
        ):
            assert trouble(Address(HOST, port, NAME), authority.certificate) is expected
        quiet = stack.enter_context(silent())
        assert trouble(Address(HOST, quiet, NAME), authority.certificate, 0.2) is Trouble.TIMEOUT


def test_a_host_that_has_no_address_is_unresolved(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)  # a real one would ask somebody else's name server
    assert trouble(Address("nowhere.invalid", 443), authority.certificate) is Trouble.UNRESOLVED
