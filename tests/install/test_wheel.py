"""The wheel is what people install: it is built, put into a fresh environment, and run there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: team}
spec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
"""


def run(*command: str | Path, stdin: str = "", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program; what it said. It finds no other code than what is installed beside it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel, and of nothing else than the lock."""
    folder = tmp_path_factory.mktemp("wheel")
    uv, environment = BIN / "uv", folder / "environment"
    steps: list[list[str | Path]] = [
        [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder],
        [uv, "venv", "--quiet", "--python", sys.executable, environment],
        [uv, "pip", "install", "--quiet", "--python", environment, "--no-deps", "--require-hashes",
         "--requirement", "requirements/runtime.txt"],
    ]  # fmt: skip
    for step in steps:
        done = run(*step)
        assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    done = run(uv, "pip", "install", "--quiet", "--python", environment, "--no-deps", "--offline", wheel)
    assert done.returncode == 0, done.stderr
    return environment / "bin"


def test_the_command_says_its_version_and_hides_what_needs_a_checkout(installed: Path, tmp_path: Path) -> None:
    program = installed / "serviceentry-guard"
    said = run(program, "version", folder=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert "commit:      unknown" in said.stdout
    assert "demo" not in run(program, "--help", folder=tmp_path).stdout


def test_a_review_works_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "serviceentry-guard", "review", "-", stdin=ENTRY, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "VirtualService" in done.stdout


def test_the_source_distribution_builds_a_wheel(tmp_path: Path) -> None:
    uv: list[str | Path] = [
        BIN / "uv",
        "build",
        "--quiet",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        tmp_path,
    ]
    done = run(*uv)
    assert done.returncode == 0, done.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name != ".gitignore") == [".gz", ".whl"]


def test_kubectl_finds_it_as_a_plugin(installed: Path, tmp_path: Path) -> None:
    plugin = installed / "kubectl-serviceentry_guard"
    assert run(plugin, "--version", folder=tmp_path).stdout.startswith("serviceentry-guard ")
