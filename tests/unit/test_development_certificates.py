"""certs/: the tool for development certificates, the place that git ignores, and the examples for cert-manager."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from app.serving.tls import ServingCertificate
from certs.development import main
from tests.command import Programs

ROOT = Path(__file__).parents[2]
SERVICE = "serviceentry-guard-webhook.serviceentry-guard.svc"


def test_the_written_certificate_can_be_served_and_written_again(tmp_path: Path, programs: Programs) -> None:
    for _ in range(2):
        made = programs.run(main, "--folder", str(tmp_path), "--name", "webhook.test")
        assert (made.code, made.stderr) == (0, "")
        served = ServingCertificate(tmp_path / "tls.crt", tmp_path / "tls.key", "webhook.test")
        assert served.unready() is None
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_is_one_sentence_and_exit_code_2(tmp_path: Path, programs: Programs) -> None:
    (tmp_path / "file").touch()
    made = programs.run(main, "--folder", str(tmp_path / "file"))
    assert made.code == 2
    assert made.stderr == f"{tmp_path / 'file'}: cannot be written: File exists\n"


def test_a_name_that_no_certificate_can_hold_is_one_sentence_and_exit_code_2(
    tmp_path: Path, programs: Programs
) -> None:
    made = programs.run(main, "--folder", str(tmp_path), "--name", "wébhook")
    assert made.code == 2
    assert made.stderr.startswith("--name wébhook: ")
    assert made.stderr.count("\n") == 1


def test_git_ignores_what_the_tool_writes() -> None:
    files = [f"certs/dev/{name}" for name in ("ca.crt", "tls.crt", "tls.key")]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == files


def test_the_examples_for_cert_manager_are_a_chain_to_the_secret_that_the_webhook_mounts() -> None:
    objects: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "certs" / "cert-manager.yaml").read_text()))
    named = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in objects}
    serving = named["Certificate", "serviceentry-guard-tls"]
    assert serving["dnsNames"] == [SERVICE]
    assert serving["secretName"] == "serviceentry-guard-tls"
    issuer = named["Issuer", serving["issuerRef"]["name"]]
    authority = next(
        spec
        for (kind, _), spec in named.items()
        if kind == "Certificate" and spec["secretName"] == issuer["ca"]["secretName"]
    )
    assert authority["isCA"]
    assert named["Issuer", authority["issuerRef"]["name"]] == {"selfSigned": {}}
    assert {one["metadata"]["namespace"] for one in objects} == {"serviceentry-guard"}
