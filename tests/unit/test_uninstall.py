"""Uninstalling against faults; that it works is shown on a real API server, in tests/chart/test_lifecycle.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kube.client import Client
from app.settings import UninstallSettings
from app.uninstall import Unfinished, Uninstall
from tests.command import run
from tests.unit.kube_server import Server, json_answer, running

REFUSED = json_answer({"kind": "Status", "message": "you may not", "reason": "Forbidden"}, 403)
BUSY = json_answer({"kind": "Status", "message": "busy", "reason": "ServiceUnavailable"}, 503)


@pytest.fixture
def server() -> Iterator[Server]:
    """Answers as it is told."""
    with running() as server:
        yield server


def attempt(server: Server, folder: Path, timeout: float = 30.0) -> str:
    """Run it in vain; gives what is said."""
    client = Client.from_kubeconfig(server.kubeconfig(folder / "kubeconfig", {"token": "t"}))
    with pytest.raises(Unfinished) as unfinished:
        Uninstall(client, UninstallSettings(timeout=timeout), lambda _: None).run()
    client.close()
    return str(unfinished.value)


def test_a_right_that_is_missing_is_named_at_once(server: Server, tmp_path: Path) -> None:
    server.answers = [REFUSED]
    said = attempt(server, tmp_path)
    assert said == "deleting MutatingWebhookConfiguration serviceentry-guard: you may not (403 Forbidden)"
    assert len(server.seen) == 1


def test_uninstall_retries_temporary_errors(server: Server, tmp_path: Path) -> None:
    server.answers = [BUSY, BUSY, REFUSED]
    assert "you may not" in attempt(server, tmp_path)
    assert [seen.method for seen in server.seen] == ["DELETE"] * 3


def test_uninstall_reports_the_last_error_after_its_timeout(server: Server, tmp_path: Path) -> None:
    server.answers = [BUSY]
    said = attempt(server, tmp_path, timeout=0.5)
    assert said.startswith("not finished within 0.5 s: deleting MutatingWebhookConfiguration serviceentry-guard: busy")


def test_the_command_names_the_remaining_object_and_exits_1(server: Server, tmp_path: Path) -> None:
    server.answers = [REFUSED]
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig", {"token": "t"})
    result = run("uninstall", f"--kubeconfig={kubeconfig}")
    assert result.exit_code == 1
    assert result.stderr.startswith("serviceentry-guard: deleting MutatingWebhookConfiguration serviceentry-guard: ")


def test_a_kubeconfig_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    result = run("uninstall", f"--kubeconfig={tmp_path / 'missing'}")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
