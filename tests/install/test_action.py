"""The GitHub Action: its steps are run as a runner runs them, with files and values in the place of GitHub's."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.reviews import REFUSED, Folder, entry

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
INSTALL, REVIEW = ACTION["runs"]["steps"]
INPUTS = {name: given["default"] for name, given in ACTION["inputs"].items()}


@dataclass(frozen=True)
class Done:
    """How a step ended, and what it wrote into the files of the runner."""

    code: int
    stdout: str
    stderr: str
    output: str
    summary: str


class Runner:
    """Runs steps in a workspace of its own."""

    def __init__(self, folder: Path) -> None:
        self.temp = folder / "temp"
        self.workspace = Folder(folder / "workspace")
        for path in (self.temp, self.workspace.path):
            path.mkdir()

    def run(self, step: Mapping[str, Any], **inputs: str) -> Done:
        """Run one step with inputs; those that are not given have their defaults."""
        files = {name: self.temp / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        values = {
            "github.action_path": str(ROOT),
            "runner.temp": str(self.temp),
            **{f"inputs.{name}": text for name, text in (INPUTS | inputs).items()},
        }
        given = {
            name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], text)
            for name, text in step["env"].items()
        }
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        environment |= given | {name: str(path) for name, path in files.items()}
        environment["PIP_NO_COMPILE"] = "1"  # most modules are never imported here
        script = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            script, cwd=self.workspace.path, env=environment, capture_output=True, text=True, check=False
        )
        output, summary = (path.read_text() for path in files.values())
        return Done(done.returncode, done.stdout, done.stderr, output, summary)

    def install(self) -> None:
        """Put the command of this checkout where the first step would install it."""
        program = self.temp / "serviceentry-guard/bin/serviceentry-guard"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {sys.executable} -m app "$@"\n')
        program.chmod(0o755)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner on which the command is installed, and a repository with two entries."""
    runner = Runner(tmp_path)
    runner.install()
    runner.workspace.write("apps/a.yaml", entry("a", resolution="NONE"))
    runner.workspace.write("apps/b.yaml", entry("b", resolution="DNS"))
    return runner


def test_a_finding_is_an_annotation_in_its_line_and_the_summary_has_the_report(runner: Runner) -> None:
    done = runner.run(REVIEW)
    assert (done.code, done.output, done.stderr) == (1, "exit-code=1\n", "")
    assert done.stdout == (
        "::warning file=apps/a.yaml,line=13,title=SEG003 ServiceEntry team/a changed::"
        "spec.resolution: NONE becomes DNS, so that retries can reach another address. Write resolution: DNS.\n"
    )
    assert done.summary.startswith("### ServiceEntries\n\n~~~text\napps/a.yaml\n")
    assert "2 ServiceEntries reviewed: 0 refused, 1 changed, 1 allowed" in done.summary
    assert done.summary.endswith("~~~\n")


def test_a_compliant_repository_passes_without_annotations(runner: Runner) -> None:
    done = runner.run(REVIEW, paths="apps/b.yaml")
    assert (done.code, done.output, done.stdout) == (0, "exit-code=0\n", "")


@pytest.mark.parametrize(("fail_on", "code"), [("changed", 1), ("unreadable", 0), ("never", 0), ("sometimes", 2)])
def test_when_the_job_fails_is_an_input(runner: Runner, fail_on: str, code: int) -> None:
    done = runner.run(REVIEW, **{"fail-on": fail_on})
    assert done.code == code
    assert ("it must be changed, unreadable or never" in done.stdout) == (fail_on == "sometimes")


def test_a_file_that_cannot_be_read_is_an_annotation_too(runner: Runner) -> None:
    (runner.workspace.path / "apps/broken.yaml").write_text("a: [\n")
    done = runner.run(REVIEW, **{"fail-on": "unreadable"})
    assert done.code == 2
    assert "::error file=apps/broken.yaml,line=2,title=serviceentry-guard::" in done.stdout


def test_paths_policy_and_flags_are_passed_on(runner: Runner) -> None:
    runner.workspace.write(
        "policy.yaml", {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "mode": "Off"}
    )
    assert runner.run(REVIEW, paths="apps/a.yaml apps/b.yaml", policy="policy.yaml").code == 0
    assert runner.run(REVIEW, arguments="--cluster-folders apps/*x").code == 2


def test_inputs_are_never_run_as_code(runner: Runner) -> None:
    assert "${{" not in INSTALL["run"] + REVIEW["run"]
    done = runner.run(REVIEW, paths="$(touch${IFS}owned) ;touch owned2")
    assert done.code == 2
    assert not list(runner.workspace.path.glob("owned*"))


def test_text_of_a_manifest_cannot_begin_a_command_of_its_own(runner: Runner) -> None:
    runner.workspace.write("apps/c.yaml", entry("c", hosts=["c.example.com\n::stop-commands::x"]))
    runner.workspace.write("apps/d%,:.yaml", entry("d", **REFUSED))
    done = runner.run(REVIEW)
    assert all(
        line.startswith(("::warning file=", "::error file=", "::notice file=")) for line in done.stdout.splitlines()
    )
    assert "file=apps/d%25%2C%3A.yaml,line=" in done.stdout


def test_the_action_installs_its_own_checkout_with_the_locked_packages(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    runner.workspace.write("a.yaml", entry("a"))
    done = runner.run(INSTALL)
    assert done.code == 0, done.stderr
    assert runner.run(REVIEW).output == "exit-code=1\n"
    assert (
        not (ROOT / "build").exists()
        or (ROOT / "build").stat().st_mtime < (runner.temp / "GITHUB_OUTPUT").stat().st_mtime
    )


def test_every_input_reaches_a_step() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", str(ACTION["runs"])))
    assert used == set(INPUTS)
