"""What the command says of itself, and what shells are told."""

import json
import os
import re
import shutil
import subprocess
from importlib.metadata import version

import pytest
from click.testing import CliRunner

import app.cli.demo
from app.cli import MODULES, cli
from tests.bed.guard import COMMAND


def test_the_version_is_that_of_the_distribution() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.output) == (0, f"serviceentry-guard {version('serviceentry-guard')}\n")


def test_version_has_all_that_a_report_of_a_bug_needs() -> None:
    facts = json.loads(
        CliRunner().invoke(cli, ["version", "-o", "json"], env={"SERVICEENTRY_GUARD_COMMIT": "abc"}).output
    )
    assert facts["commit"] == "abc"
    assert {"version", "python", "platform", "istio", "kubernetes"} < facts.keys()
    assert CliRunner().invoke(cli, ["version"]).output.startswith("version:")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_is_a_script_of_its_shell(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_SERVICEENTRY_GUARD_COMPLETE" in result.output


def test_bash_completes_commands() -> None:
    bash = shutil.which("bash")
    assert bash
    asked = {"_SERVICEENTRY_GUARD_COMPLETE": "bash_complete", "COMP_WORDS": "serviceentry-guard rev", "COMP_CWORD": "1"}
    command = [
        str(COMMAND[0]),
        "-c",
        "import sys; sys.argv[0] = 'serviceentry-guard'; from app.cli import main; main()",
    ]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,review"], done.stderr


def test_each_command_is_listed_with_a_whole_sentence() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:\n")[2]
    rows = re.findall(r"^  (\S+) +((?:.|\n   )+)", text, re.MULTILINE)
    assert [name for name, _ in rows] == list(MODULES)
    assert all(sentence.endswith(".") and "..." not in sentence for _, sentence in rows)


def test_the_demo_is_hidden_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.cli.demo.demo, "hidden", True)
    assert "demo" not in CliRunner().invoke(cli, ["--help"]).output
