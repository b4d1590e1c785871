"""What the mesh says on a machine that cannot have one, and to a command line that makes no sense."""

import os
import platform
import sys
from pathlib import Path

import pytest

from tests.command import Programs
from tests.mesh import networks
from tests.mesh.__main__ import main

on_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="elsewhere that is what is said first"
)


@on_linux
def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs) -> None:
    for program in ("unshare", "ip"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert networks.complaint() == "the mesh needs the program iptables, which is not installed"
    refused = programs.run(main)
    assert refused.code == 2
    assert refused.stderr == "mesh: the mesh needs the program iptables, which is not installed\n"


@on_linux
def test_without_the_right_to_have_networks_of_its_own_the_mesh_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in networks.PROGRAMS:
        (tmp_path / program).write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2; exit 1\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    complaint = networks.complaint()
    assert complaint is not None
    assert complaint.startswith("the mesh needs root, with network and mount namespaces of its own: ")
    assert complaint.endswith("Operation not permitted")


def test_figures_of_a_part_are_not_written_down(programs: Programs) -> None:
    refused = programs.run(main, "slow", "--write", "nowhere.md")
    assert refused.code == 2
    assert "--write is for a whole run" in refused.stderr


def test_a_scenario_that_there_is_not_is_refused_with_those_that_there_are(programs: Programs) -> None:
    refused = programs.run(main, "nonsense")
    assert refused.code == 2
    assert "invalid choice: 'nonsense'" in refused.stderr
    assert "rotation" in refused.stderr
