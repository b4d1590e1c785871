"""`kubectl serviceentry-guard` is the command: kubectl finds it by the name of its program."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.bed.binaries import provide

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def test_kubectl_runs_the_command_by_its_name(tmp_path: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (name,) = [name for name in scripts if name.startswith("kubectl-")]
    module, _, function = scripts[name].partition(":")
    program = tmp_path / name
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [str(provide().kubectl), "serviceentry-guard", "policy", "default"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kind: GuardPolicy" in done.stdout
