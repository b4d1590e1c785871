"""Files that change while they cannot be read, as when a process has no file descriptor left: they are read later."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.policyfile import PolicyFile
from app.serving.tls import ServingCertificate
from app.webhook.mounted import SiblingsFile
from tests.bed.pki import KeyPair, create_authority

POLICY = "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\nmode: {mode}\n"
SIBLINGS = '{"team": {"api.example.com": [["api", "NONE", "80/HTTP"]]}}'

Exhausted = Callable[[], Any]


@pytest.fixture
def exhausted(monkeypatch: pytest.MonkeyPatch) -> Exhausted:
    """A process without a free file descriptor: `stat` works, and nothing can be opened."""

    @contextmanager
    def exhausted() -> Iterator[None]:
        def refuse(*_arguments: object, **_options: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", refuse)
            patched.setattr("ssl.SSLContext.load_cert_chain", refuse)
            yield

    return exhausted


def test_a_policy_that_cannot_be_read_for_a_while_is_in_force_afterwards(
    tmp_path: Path, exhausted: Exhausted, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(mode="Enforce"))
    told: list[bool] = []
    policy = PolicyFile(path, told.append)
    path.write_text(POLICY.format(mode="Warn"))
    with exhausted():
        assert not any(policy.poll() for _ in range(4))
    assert policy.poll()
    assert policy.current.mode.value == "Warn"
    assert told == [False, True], "the failure is told once"
    assert caplog.text.count("Too many open files") == 1


def test_a_policy_that_is_removed_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(mode="Enforce"))
    told: list[bool] = []
    policy = PolicyFile(path, told.append)
    path.unlink()
    assert not any(policy.poll() for _ in range(4))
    assert told == [False]
    assert caplog.text.count("cannot be read") == 1


def test_a_certificate_that_cannot_be_read_for_a_while_is_served_afterwards(
    tmp_path: Path, exhausted: Exhausted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    authority = create_authority("test")
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    put(files, authority.serving("webhook.test"))
    certificate = ServingCertificate(*files)
    before = certificate.not_after
    put(files, authority.serving("webhook.test"))
    with exhausted():
        assert not any(certificate.reload() for _ in range(4))
        assert (certificate.not_after, certificate.up_to_date) == (before, False)
    assert certificate.reload()
    assert (certificate.not_after > 0, certificate.up_to_date) == (True, True)
    assert caplog.text.count("Too many open files") == 1


def test_siblings_that_cannot_be_read_for_a_while_stay_in_force(tmp_path: Path, exhausted: Exhausted) -> None:
    path = tmp_path / "siblings.json"
    path.write_text(SIBLINGS)
    siblings = SiblingsFile(path)
    before = siblings.current
    assert before
    path.write_text(SIBLINGS.replace("api.", "www."))
    with exhausted():
        siblings.poll()
        assert siblings.current == before
    siblings.poll()
    assert siblings.current
    assert siblings.current != before


def put(files: tuple[Path, Path], pair: KeyPair) -> None:
    """Write both files of a pair."""
    for path, content in zip(files, (pair.certificate, pair.private_key), strict=True):
        path.write_bytes(content)
