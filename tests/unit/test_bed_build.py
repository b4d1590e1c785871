"""How the test bed finds or builds its programs, and what it says when it cannot."""

import fcntl
import io
import os
import subprocess
import threading
from pathlib import Path

import pytest

from tests.bed.__main__ import main
from tests.bed.binaries import provide, provide_mesh
from tests.bed.build import build, cache_root, cached
from tests.bed.errors import BedError
from tests.bed.processes import wait_until
from tests.bed.progress import Progress
from tests.bed.tools import ISTIO_CRDS, KUBE_APISERVER, KUBECTL, Tool
from tests.command import Programs
from tests.demo.introduction import FETCH, introduction

HELLO = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", os.environ.get("GOCACHE") or str(Path.home() / ".cache" / "go-build"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, empty."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def hello(tmp_path: Path) -> Tool:
    """A tool that builds in a second."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module example.test/hello\n\ngo 1.24.0\n")
    (module / "go.sum").touch()
    (module / "main.go").write_text(HELLO)
    return Tool("hello", module, "example.test/hello", 0.1)


def program(path: Path, script: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("only")
def test_without_go_the_build_names_it_and_ends_with_2(programs: Programs) -> None:
    result = programs.run(main, "build")
    assert result.code == 2
    assert "Go 1.26 or newer is needed to build the test bed's kube-apiserver: install it" in result.stderr
    assert "set KUBEBUILDER_ASSETS" in result.stderr


@pytest.mark.usefixtures("only")
def test_without_go_istiod_is_named_and_no_assets_are_offered_that_cannot_have_it() -> None:
    with pytest.raises(BedError, match=r"to build the test bed's pilot-discovery: install it \(there is no program go"):
        provide_mesh()


def test_a_go_that_is_too_old_is_named_with_what_it_says_itself(only: Path, programs: Programs) -> None:
    program(only / "go", "echo 'go: go.mod requires go >= 1.26.0 (running go 1.22.2)' >&2; exit 1")
    result = programs.run(main, "build")
    assert result.code == 2
    assert "Go 1.26 or newer is needed" in result.stderr
    assert "(go says: go: go.mod requires go >= 1.26.0 (running go 1.22.2))" in result.stderr


def test_a_program_missing_in_the_users_assets_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    program(tmp_path / "kubectl")
    program(tmp_path / "etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    result = programs.run(main, "build")
    assert result.code == 2
    assert f"KUBEBUILDER_ASSETS is set to {tmp_path}, but there is no program kube-apiserver in it" in result.stderr


def test_the_users_assets_are_used_and_need_no_go(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kube-apiserver", "kubectl", "etcd", ISTIO_CRDS.name):
        program(only / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(only))
    binaries = provide()
    assert binaries.kube_apiserver == only / "kube-apiserver"
    assert binaries.kubectl == only / "kubectl"
    assert binaries.etcd == only / "etcd"
    assert binaries.istio_crds == only / ISTIO_CRDS.name


@pytest.mark.usefixtures("only")
def test_cached_programs_need_no_go_and_print_nothing(hello: Tool) -> None:
    for item in (KUBE_APISERVER, KUBECTL, ISTIO_CRDS, hello):
        cached(item).parent.mkdir(parents=True, exist_ok=True)
        program(cached(item))
    out = io.StringIO()
    build([KUBE_APISERVER, KUBECTL, ISTIO_CRDS, hello], Progress(out))
    assert out.getvalue() == ""


def test_a_build_says_how_long_it_takes_and_where_its_result_stays(hello: Tool) -> None:
    out = io.StringIO()
    build([hello], Progress(out))
    announcement, *_, end = out.getvalue().splitlines()
    assert announcement.startswith("test bed: first build of hello: about 0.1 CPU minutes, ")
    assert announcement.endswith(f"cached afterwards in {cache_root()}")
    assert "packages compiled, done in" in end


def test_go_settings_of_the_user_do_not_affect_a_build(hello: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-n")
    monkeypatch.setenv("GOWORK", "/nowhere/go.work")
    build([hello], Progress(io.StringIO()))
    result = subprocess.run([cached(hello)], capture_output=True, text=True, check=True)
    assert result.stderr == "hello\n"


def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing(hello: Tool) -> None:
    (hello.module / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(BedError, match="undefined: undefined"):
        build([hello], Progress(io.StringIO()))
    assert list(cached(hello).parent.iterdir()) == []


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "main.go"])
def test_a_changed_module_is_another_build(hello: Tool, changed: str) -> None:
    before = cached(hello)
    with (hello.module / changed).open("a") as file:
        file.write("\n// changed\n")
    assert cached(hello) != before


def test_other_linker_flags_are_another_build(hello: Tool) -> None:
    stamped = Tool(hello.name, hello.module, hello.package, hello.cpu_minutes, "-X main.version=2")
    assert cached(stamped) != cached(hello)


def test_of_two_runs_at_once_only_one_builds(hello: Tool) -> None:
    out = io.StringIO()
    second = threading.Thread(target=build, args=([hello], Progress(out)))
    cache_root().mkdir(parents=True)
    with (cache_root() / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second.start()
        wait_until(lambda: "another run is building" in out.getvalue(), "the second run waits")
        cached(hello).parent.mkdir(parents=True)
        program(cached(hello))
    second.join()
    assert "compiled" not in out.getvalue()


@pytest.mark.usefixtures("only")
def test_demo_says_first_what_it_builds_how_long_that_takes_and_how_to_do_without() -> None:
    said = introduction()
    assert "The first run builds kube-apiserver and kubectl with Go: about " in said or "etcd" in said
    assert "serviceentry-guard review FOLDER" in said
    assert FETCH in said


def test_demo_builds_no_kubectl_where_one_is_installed(only: Path) -> None:
    program(only / "kubectl")
    assert "kubectl" not in introduction()
    assert "kube-apiserver" in introduction()


def test_demo_with_the_users_assets_says_only_how_long_it_takes(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kube-apiserver", "kubectl", "etcd"):
        program(only / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(only))
    assert introduction().endswith("This takes about 20 seconds.")
