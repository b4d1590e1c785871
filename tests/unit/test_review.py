"""The `review` command: exit codes, what goes where, conflicts between files, and input of any kind."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import run
from tests.unit.reviews import CONFIG_MAP, REFUSED, Folder, entry, text, virtual_service

COMMAND = (sys.executable, "-m", "app", "review")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        ([], 0),
        ([CONFIG_MAP], 0),
        ([entry(resolution="DNS")], 0),
        ([entry(resolution="DNS"), entry("b")], 1),
        ([entry(resolution="DNS"), entry("b", **REFUSED)], 1),
    ],
)
def test_the_exit_code_is_1_if_something_would_be_changed_or_refused(
    folder: Folder, documents: list[object], code: int
) -> None:
    folder.write("a.yaml", *documents)  # type: ignore[arg-type]  # a list of mixed dicts
    assert folder.review().exit_code == code
    (folder.path / "broken.yaml").write_text("[")
    assert folder.review().exit_code == 2


def test_a_folder_without_a_service_entry_is_most_often_the_wrong_one(folder: Folder) -> None:
    file = folder.write("manifests/a.yaml", CONFIG_MAP)
    empty = run("review", "manifests")
    assert empty.exit_code == 2
    assert "no ServiceEntry in manifests: is it the right folder? Or set --allow-empty" in empty.stderr
    assert run("review", "manifests", "--allow-empty").exit_code == 0
    assert run("review", str(file)).exit_code == 0, "pre-commit names every file"


def test_the_finding_on_two_entries_of_one_host_has_both_places(folder: Folder) -> None:
    folder.write("a.yaml", entry("one", hosts=["x.example.com"], resolution="DNS"))
    folder.write("b.yaml", CONFIG_MAP, entry("two", hosts=["x.example.com"], resolution="DNS"))
    shown = folder.review().stdout
    assert re.search(
        r'"x.example.com" belongs to ServiceEntry team/one, which is first by name\n'
        r" *b.yaml:14: .*\n *a.yaml:1: conflicting",
        shown,
    )


def test_the_finding_on_two_entries_of_one_name_has_both_places(folder: Folder) -> None:
    folder.write("a.yaml", entry(resolution="DNS"))
    folder.write("b.yaml", entry(resolution="DNS"))
    shown = folder.review().stdout
    assert re.search(r"SEG050 metadata.name: another manifest .*\n *b.yaml:4: .*\n *a.yaml:1: conflicting", shown)


def test_a_foreign_virtual_service_has_a_finding_with_both_places_and_ours_is_not_emitted(
    folder: Folder,
) -> None:
    folder.write("a.yaml", entry(resolution="DNS"))
    folder.write("b/c.yaml", virtual_service("*.example.com"))
    shown = folder.review().stdout
    assert re.search(r"VirtualService team/theirs already routes .*\n *a.yaml:7: .*\n *b/c.yaml:1: conflicting", shown)
    assert shown.endswith("0 objects to emit\n")


def test_manifests_without_a_namespace_are_in_the_given_one(folder: Folder) -> None:
    folder.write("a.yaml", entry(namespace=None))
    assert "ServiceEntry default/api" in folder.review().stdout
    assert "ServiceEntry team/api" in folder.review("--namespace=team").stdout
    assert "ServiceEntry env/api" in run("review", ".", environment={"SERVICEENTRY_GUARD_NAMESPACE": "env"}).stdout


def test_standard_input_is_read_where_no_path_is_given_and_once_only() -> None:
    assert "<stdin>\n" in run("review", stdin=text(entry())).stdout
    twice = run("review", "-", "-", stdin=text(entry()))
    assert (twice.exit_code, twice.stdout) == (2, "")
    assert twice.stderr == "serviceentry-guard: standard input (-) can be read once only\n"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.mkdir(), None),
        (lambda path: path.write_bytes(bytes(range(256))), "bad.yaml:2: is not text"),
        (lambda path: path.write_text("a: [\n}"), "bad.yaml:2: is not YAML: did not find"),
        (lambda path: path.write_bytes(b"a" * 50_000_000), "bad.yaml: is larger than 20 MiB"),
        (lambda path: path.write_text("a: &a [*a]"), "bad.yaml:1: *a refers to an object that it is part of"),
        (lambda path: path.write_text("[" * 100_000), "bad.yaml:1: is nested deeper than 128"),
        (lambda path: path.write_text("a: \0"), "bad.yaml:1: is not YAML: control characters are not allowed"),
        (lambda path: path.symlink_to("/proc/self/mem"), "bad.yaml: cannot be read: Input/output error"),
        (lambda path: path.symlink_to("missing"), "bad.yaml: cannot be read: No such file or directory"),
        (lambda path: path.symlink_to("bad.yaml"), "bad.yaml: cannot be read: Too many levels of symbolic links"),
    ],
)
def test_an_unreadable_file_is_one_line_with_exit_code_2_and_the_others_are_reviewed(
    folder: Folder, make: Callable[[Path], object], expected: str | None
) -> None:
    folder.write("good.yaml", entry())
    make(folder.path / "bad.yaml")
    result = folder.review()
    assert "ServiceEntry team/api changed" in result.stdout
    if expected is None:
        assert (result.exit_code, result.stderr) == (1, "")
    else:
        assert result.exit_code == 2
        assert result.stderr.startswith(f"serviceentry-guard: {expected}")
        assert result.stderr.count("\n") == 1


def shell(script: str, folder: Folder) -> subprocess.CompletedProcess[str]:
    """Run a script in which $review is the command."""
    environment = os.environ | {"review": " ".join(COMMAND)}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder.path, env=environment, capture_output=True, text=True, check=False
    )


def test_a_reader_that_stops_early_does_not_change_the_exit_code(folder: Folder) -> None:
    folder.write("a.yaml", *(entry(f"e{number}") for number in range(500)))
    assert len(folder.review().stdout) > 65536, "it has to be more than a pipe holds"
    done = shell("$review a.yaml | head -1; exit ${PIPESTATUS[0]}", folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "a.yaml\n", "")


def test_output_that_cannot_be_written_is_one_line_and_exit_code_2(folder: Folder) -> None:
    folder.write("a.yaml", entry(resolution="DNS"))
    full = shell("$review a.yaml > /dev/full", folder)
    assert (full.returncode, full.stderr) == (
        2, "serviceentry-guard: standard output cannot be written: No space left on device\n",
    )  # fmt: skip
    closed = shell("$review a.yaml >&-", folder)
    assert (closed.returncode, closed.stderr) == (2, "serviceentry-guard: standard output is closed\n")


@pytest.mark.parametrize("printed", ["default", "schema"])
def test_a_policy_that_cannot_be_printed_is_one_line_and_exit_code_2(folder: Folder, printed: str) -> None:
    full = shell(f"{sys.executable} -m app policy {printed} > /dev/full", folder)
    assert (full.returncode, full.stderr) == (
        2, "serviceentry-guard: standard output cannot be written: No space left on device\n",
    )  # fmt: skip


def test_input_that_is_closed_is_one_line_and_exit_code_2(folder: Folder) -> None:
    done = shell("$review - <&-", folder)
    assert (done.returncode, done.stderr) == (2, "serviceentry-guard: <stdin>: is closed\n")


def test_input_that_cannot_be_read_is_one_line_and_exit_code_2(folder: Folder) -> None:
    done = shell("$review - 0> written-only", folder)
    assert (done.returncode, done.stderr) == (2, "serviceentry-guard: <stdin>: cannot be read: Bad file descriptor\n")


def on_terminal(folder: Folder, **variables: str) -> str:
    """What a terminal would show."""
    terminal, ours = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    subprocess.run([*COMMAND, "."], cwd=folder.path, env=environment, stdout=ours, check=False)
    os.close(ours)
    shown = b""
    while piece := _read(terminal):
        shown += piece
    os.close(terminal)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that a terminal is at its end
        return b""


def test_colours_are_for_terminals_without_no_color(folder: Folder) -> None:
    folder.write("a.yaml", entry(), entry("b", **REFUSED))
    assert "\033[31mrefused\033[0m" in on_terminal(folder, TERM="xterm")
    assert "\033" not in on_terminal(folder, TERM="xterm", NO_COLOR="1")
    assert "\033" not in on_terminal(folder, TERM="dumb")
    assert "\033" not in folder.review().stdout


def test_names_of_any_bytes_come_out_as_they_are(folder: Folder) -> None:
    name = b"caf\xe9 \xf0\x9f\x98\x80.yaml"
    folder.write(os.fsdecode(name), entry())
    done = subprocess.run([*COMMAND, "."], cwd=folder.path, capture_output=True, check=False)
    assert done.stdout.startswith(name + b"\n")
