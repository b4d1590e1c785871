"""What the image test says where it cannot run, and what it tells the pip in the build."""

import os
import sys
from pathlib import Path

import pytest

from tests.bed.errors import BedError
from tests.image import base, build

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the image test only says that it needs Linux"
)


def test_a_missing_program_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(base, "PROGRAMS", {"sh": "dash", "no-such-program": "its-package"})
    assert base.complaint() == "the image test needs its-package: apt-get install its-package"


def test_a_build_without_root_gets_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "has to be root" in (base.complaint() or "")


def test_a_program_that_fails_is_quoted() -> None:
    with pytest.raises(BedError, match=r"(?s)^sh -c ended with code 3; .*no space left$"):
        base.run("sh", "-c", "echo no space left >&2; exit 3")


def test_the_pip_of_the_build_gets_the_settings_of_the_users_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment before the file; authorities are named by where the build finds them; the rest stays out."""
    file = tmp_path / "user.conf"
    file.write_text("[global]\ncert = /of/the/file.pem\nproxy = proxy.example:3128\ncache-dir = /somewhere\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "/of/the/environment.pem")

    secrets = build.pip_secrets(tmp_path)

    assert secrets == {"ca.pem": Path("/of/the/environment.pem"), "pip.conf": tmp_path / "pip.conf"}
    lines = secrets["pip.conf"].read_text().splitlines()
    assert sorted(lines) == ["[global]", "cert = /run/secrets/ca.pem", "proxy = proxy.example:3128"]


def test_sweep_deletes_killed_builds_and_keeps_running_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    for name in (".building-old", ".building-new", "buildah-cache"):
        (tmp_path / name / "root").mkdir(parents=True)
    for name in (".building-old", "buildah-cache"):
        os.utime(tmp_path / name, (0, 0))

    build.sweep()

    assert {path.name for path in tmp_path.iterdir()} == {".building-new", "buildah-cache"}
