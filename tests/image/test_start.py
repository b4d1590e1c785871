"""The image starts with a root that nobody can write to, whoever it runs as, and answers."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.clients import BODY
from tests.contract.webhooks import until
from tests.image.build import ROOT, Image
from tests.image.container import User, any_user, arbitrary_user_of_root_group, own_user, run, webhook

USERS: list[Callable[[Image], User]] = [
    own_user,
    lambda _: any_user(),
    lambda _: arbitrary_user_of_root_group(),
]


@pytest.mark.parametrize("user", USERS, ids=["its own user", "any user", "any user of the root group"])
def test_a_patch_comes_out_of_mutate_over_tls(user: Callable[[Image], User], image: Image, tmp_path: Path) -> None:
    who = user(image)
    with webhook(image, who, tmp_path) as (running, child):
        until(lambda: running.probe("/readyz").status == 200)
        answer = running.ask().document
        identity = Path(f"/proc/{child.pid}/status").read_text()

    response = answer["response"]
    assert response["uid"] == json.loads(BODY)["request"]["uid"]
    assert response["allowed"] is True
    assert {"op": "replace", "path": "/spec/resolution", "value": "DNS"} in patch(response)
    assert re.search(rf"Uid:\t{who.uid}\t{who.uid}\t{who.uid}\t{who.uid}\n", identity)
    assert re.search(r"CapEff:\t0+\n", identity)


def test_it_ends_by_itself_when_asked_to(image: Image, tmp_path: Path) -> None:
    """Its first process is the server: nothing stands between it and the signal."""
    with webhook(image, any_user(), tmp_path) as (_, child):
        assert child.stop(60) == 0, child.tail()


def patch(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON Patch of an answer."""
    operations: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"]))
    return operations


def test_every_module_of_the_product_can_be_imported(image: Image, volume: Path) -> None:
    """Whatever was left out of the image is needed by none of them."""
    program = (
        "import importlib, pkgutil, app; names = [m.name for m in pkgutil.walk_packages(app.__path__, 'app.')]; "
        "print(len([importlib.import_module(name) for name in names if name != 'app.__main__']))"
    )
    code, said = run(image, volume, "python", "-c", program)

    modules = [file for file in (ROOT / "app").rglob("*.py") if file.name != "__main__.py"]
    assert (code, said.strip()) == (0, str(len(modules) - 1))  # app itself is not counted


def test_traces_can_be_turned_on(image: Image, volume: Path) -> None:
    code, said = run(image, volume, "python", "-c", "import opentelemetry.exporter.otlp.proto.http.trace_exporter")
    assert code == 0, said


def test_a_kubeconfig_is_understood_and_an_absent_api_server_is_named(image: Image, volume: Path) -> None:
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (volume / "kubeconfig").write_text(json.dumps(kubeconfig))
    code, said = run(image, volume, *image.config["Entrypoint"], "audit", "--kubeconfig=/mnt/kubeconfig")

    assert code == 2
    assert "http://127.0.0.1:9" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
@pytest.mark.parametrize("python", ["3.11", "3.13"], ids=["the oldest Python", "the image's Python"])
def test_the_locks_have_what_each_architecture_needs(python: str, machine: str, tmp_path: Path) -> None:
    """For the oldest system that the wheels may be for; nothing is built from source."""
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--dry-run", f"--target={tmp_path}"]
    kind = [f"--python-version={python}", f"--python-platform={machine}-manylinux_2_28", "--only-binary=:all:"]
    locks = ["--no-deps", "--require-hashes", "--requirement=requirements/runtime.txt"]
    done = subprocess.run([*uv, *kind, *locks], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " + cryptography==" in done.stderr


def test_python_and_debian_are_those_of_the_default_base(image: Image, volume: Path) -> None:
    """What is tried here is a plain Debian; what is published has an official base of the same versions."""
    default = re.search(r"^ARG BASE_IMAGE=python:([\d.]+)-slim-(\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert default
    program = "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"
    code, said = run(image, volume, "python", "-c", program)
    assert (code, said.split()) == (0, [default[1], "/opt/serviceentry-guard"])
    assert f"VERSION_CODENAME={default[2]}" in (image.root / "etc" / "os-release").read_text().splitlines()
