"""Child processes of the test bed, and the certificates they serve with."""

import ssl
import sys
from pathlib import Path

import pytest

from tests.bed.errors import BedError
from tests.bed.pki import Authority, create_authority
from tests.bed.ports import free_port
from tests.bed.processes import Child, answers, wait_until

WAIT = "print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"
ORDERLY = f"import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); {WAIT}"


def python(script: str, log: Path) -> Child:
    return Child(sys.executable, "-c", script, log=log)


def test_a_child_that_ends_too_early_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = python("raise SystemExit('no such policy')", tmp_path / "log").start()
    with pytest.raises(BedError, match=r"(?s)ended with code 1 before port \d+ .*no such policy"):
        child.wait_until_listening(free_port())


def test_a_command_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    child = Child("no-such-program", log=tmp_path / "log").start()
    with pytest.raises(BedError, match=r"(?s)no-such-program ended .*FileNotFoundError"):
        child.wait_until_listening(free_port())


def test_a_server_is_ready_once_its_url_answers_200(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind=127.0.0.1", f"--directory={tmp_path}", str(port)]
    with Child(*command, log=tmp_path / "log") as server:
        server.wait_until_answering(f"http://127.0.0.1:{port}/log")
        assert not answers(f"http://127.0.0.1:{port}/absent")


def test_a_child_that_does_not_get_ready_in_time_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with python(STUBBORN, tmp_path / "log") as child:
        child.wait_until(lambda: "up" in child.tail(), "it is up")
        with pytest.raises(BedError, match=r"(?s)waited 0.1 s in vain until port \d+ .*up"):
            child.wait_until_listening(free_port(), seconds=0.1)
        child.kill()


def test_a_child_that_ignores_sigterm_is_killed_after_the_deadline(tmp_path: Path) -> None:
    child = python(STUBBORN, tmp_path / "log").start()
    child.wait_until(lambda: "up" in child.tail(), "it is up")
    assert child.stop(seconds=0.2) == -9
    assert not child.running


def test_a_paused_child_still_gets_to_end_in_its_own_way(tmp_path: Path) -> None:
    child = python(ORDERLY, tmp_path / "log").start()
    child.wait_until(lambda: "up" in child.tail(), "it is up")
    child.pause()
    assert child.stop(seconds=10) == 3


def test_a_child_can_be_started_again_and_keeps_its_log(tmp_path: Path) -> None:
    child = python("print('once')", tmp_path / "log")
    child.start().process.wait()
    child.start().process.wait()
    assert child.tail() == "once\nonce"


def test_waiting_in_vain_names_what_was_awaited() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0.1 s in vain until pigs fly"):
        wait_until(lambda: False, "pigs fly", seconds=0.1)


@pytest.fixture
def authority() -> Authority:
    return create_authority("test")


@pytest.mark.parametrize("name", ["127.0.0.1", "webhook.team.svc"])
def test_a_strict_client_accepts_a_serving_certificate_for_its_names(
    authority: Authority, name: str, tmp_path: Path
) -> None:
    handshake(authority, authority, name, tmp_path)


def test_a_client_refuses_a_certificate_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|unable to get local issuer"):
        handshake(create_authority("other"), authority, "127.0.0.1", tmp_path)


def test_a_client_refuses_a_certificate_for_another_name(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for|mismatch"):
        handshake(authority, authority, "elsewhere.example.com", tmp_path)


def handshake(trusted: Authority, issuer: Authority, name: str, folder: Path) -> None:
    """A TLS handshake in memory with a server certificate for 127.0.0.1 and webhook.team.svc."""
    pair = issuer.serving("127.0.0.1", "webhook.team.svc")
    (folder / "tls.pem").write_bytes(pair.certificate + pair.private_key)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / "tls.pem")
    client_context = ssl.create_default_context(cadata=trusted.certificate.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        advance(side)
    client.do_handshake()


def advance(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return
