"""What commands say on a terminal: questions before they write, progress while they work. Without one, neither."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.progress import progress
from tests.bed.guard import COMMAND
from tests.command import run
from tests.terminal import on_terminal
from tests.unit.kube_server import Handler, Server, json_answer, running
from tests.unit.reviews import Folder, entry

GUARD = COMMAND
MISSING = json_answer({"kind": "Status", "message": "not there", "reason": "NotFound"}, 404)


@pytest.fixture
def files(tmp_path: Path) -> Folder:
    """Two entries that are changed, in one file, and one that is compliant."""
    folder = Folder(tmp_path)
    folder.write("a.yaml", entry("a", resolution="NONE"), entry("b"))
    folder.write("c.yaml", entry("c", resolution="DNS"))
    return folder


def test_fix_names_the_entries_and_files_and_asks_before_it_writes(files: Folder) -> None:
    before = (files.path / "a.yaml").read_text()
    with on_terminal(*GUARD, "review", "--fix", ".", folder=files.path) as terminal:
        terminal.until("into these files? [y/N]: ")
        assert "a.yaml:13: ServiceEntry team/a: resolution NONE becomes DNS\r\n" in terminal.shown
        assert "ServiceEntry team/b: resolution NONE becomes DNS\r\n" in terminal.shown
        assert "team/c" not in terminal.shown
        assert (files.path / "a.yaml").read_text() == before
        terminal.type("n\n")
        assert terminal.end() == 2
        assert "serviceentry-guard: nothing was changed\r\n" in terminal.shown
    assert (files.path / "a.yaml").read_text() == before


def test_fix_writes_after_a_yes_on_the_terminal_or_on_the_command_line(files: Folder) -> None:
    for flags, answer in (((), "y\n"), (("--yes",), "")):
        path = files.write("a.yaml", entry("a", resolution="NONE"))
        with on_terminal(*GUARD, "review", "--fix", *flags, ".", folder=files.path) as terminal:
            if answer:
                terminal.until("[y/N]: ")
                terminal.type(answer)
            assert terminal.end() == 0, terminal.shown
            assert ("[y/N]" in terminal.shown) == bool(answer)
        assert "resolution: DNS" in path.read_text()


def test_fix_does_not_ask_if_no_file_would_change(files: Folder) -> None:
    with on_terminal(*GUARD, "review", "--fix", "c.yaml", folder=files.path) as terminal:
        assert terminal.end() == 0
        assert "[y/N]" not in terminal.shown


def test_fix_and_its_answers_cannot_come_from_the_environment(files: Folder) -> None:
    variables = {f"SERVICEENTRY_GUARD_{name}": "true" for name in ("FIX", "YES", "DRY_RUN")}
    before = (files.path / "a.yaml").read_text()
    assert run("review", str(files.path), environment=variables).exit_code == 1
    assert (files.path / "a.yaml").read_text() == before
    assert run("review", "--fix", str(files.path), environment=variables).exit_code == 0
    assert (files.path / "a.yaml").read_text() != before


@pytest.fixture
def server() -> Iterator[Server]:
    """Answers as it is told."""
    with running() as server:
        yield server


@pytest.mark.parametrize(
    "arguments",
    [
        ("uninstall", "--dry-run"),
        ("doctor", "--disable", "--dry-run"),
        ("doctor", "--enable", "--dry-run"),
    ],
)
def test_a_dry_run_names_the_address_and_the_context_of_the_cluster(
    server: Server, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    server.answers = [MISSING]
    result = run(*arguments, f"--kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig', {'token': 't'})}")
    assert result.exit_code == 0, result.stderr
    assert f"in {server.url} (context x)" in result.stdout


@pytest.mark.parametrize("arguments", [("uninstall",), ("doctor", "--disable"), ("doctor", "--enable")])
def test_a_question_names_the_address_and_the_context_of_the_cluster(
    server: Server, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig", {"token": "t"})
    with on_terminal(*GUARD, *arguments, f"--kubeconfig={kubeconfig}", folder=tmp_path) as terminal:
        terminal.until(f"{server.url} (context x)? [y/N]: ")
        terminal.type("n\n")
        assert terminal.end() == 2
    assert server.seen == []


def test_a_cluster_that_does_not_answer_is_named_with_its_context(server: Server, tmp_path: Path) -> None:
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig", {"token": "t"})
    server.server_close()
    assert f"{server.url} (context x) did not answer" in run("audit", f"--kubeconfig={kubeconfig}").stderr


@pytest.mark.parametrize(
    ("command", "step"),
    [
        ("audit", "listing the objects of"),
        ("doctor", "reading the installation from"),
        ("uninstall --yes", "deleting MutatingWebhookConfiguration serviceentry-guard"),
    ],
)
def test_a_command_that_waits_says_for_what_until_it_goes_on(
    server: Server, tmp_path: Path, command: str, step: str
) -> None:
    answered = threading.Event()
    refused = json_answer({"kind": "Status", "message": "you may not", "reason": "Forbidden"}, 403)

    def slow(handler: Handler) -> None:
        answered.wait(60)
        refused(handler)

    server.answers = [slow, refused]
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig", {"token": "t"})
    with on_terminal(*GUARD, *command.split(), f"--kubeconfig={kubeconfig}", folder=tmp_path) as terminal:
        terminal.until(f"\r\x1b[Kserviceentry-guard: {step}")
        answered.set()
        assert terminal.end() != 0
        last_line = terminal.shown.splitlines()[-1].rpartition("\x1b[K")[2]
        assert f"serviceentry-guard: {step}" not in last_line.removeprefix("serviceentry-guard: deleting Mut")


def test_a_review_of_a_slow_file_says_what_it_does(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow.yaml")
    with on_terminal(*GUARD, "review", "slow.yaml", folder=tmp_path) as terminal:
        terminal.until("\r\x1b[Kserviceentry-guard: reading files (")
        (tmp_path / "slow.yaml").write_text("")
        assert terminal.end() == 0
        assert terminal.shown.partition("\r\x1b[K0 ServiceEntries reviewed: ")[1]


def test_without_a_terminal_there_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    with progress.during("reading files"):
        progress.step("reviewing")
        assert threading.active_count() == threads
    assert capsys.readouterr() == ("", "")


WRITES = (
    "--help",
    "--version",
    "version",
    "completion bash",
    "review --help",
    "policy default",
    "policy check policy.yaml",
)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A folder with a policy."""
    (tmp_path / "policy.yaml").write_text("apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n")
    return tmp_path


@pytest.mark.parametrize("arguments", WRITES)
def test_a_full_disk_is_one_sentence_and_exit_code_2(policy: Path, arguments: str) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" > /dev/full', "-", *GUARD, *arguments.split()],
        cwd=policy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = "serviceentry-guard: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("arguments", WRITES)
def test_a_reader_that_is_gone_is_not_an_error(policy: Path, arguments: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*GUARD, *arguments.split()]
    done = subprocess.run(command, cwd=policy, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_for_standard_error_leaves_the_exit_code_as_it_is(tmp_path: Path) -> None:
    for arguments in ("review missing.yaml", "review --no-such-flag"):
        done = subprocess.run(
            ["bash", "-c", '"$@" 2> /dev/full', "-", *GUARD, *arguments.split()], cwd=tmp_path, check=False
        )
        assert done.returncode == 2
