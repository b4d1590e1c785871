"""`review` takes labels from Namespace manifests, and says which it could not see."""

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from app.cli import cli
from tests.builders import manifest

GATEWAYS = {"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "gateways"}


def space(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def reviewed(folder: Path, *documents: dict[str, Any]) -> Result:
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
    return CliRunner().invoke(cli, ["review", str(folder), "--output=yaml"])


def test_labels_of_namespaces_are_taken_from_their_manifests(tmp_path: Path) -> None:
    result = reviewed(tmp_path, manifest(exportTo=["."]), space("team", **GATEWAYS), space("gateways"))
    *_, emitted = yaml.safe_load_all(result.stdout)
    assert emitted["spec"]["exportTo"] == [".", "gateways"]
    assert result.stderr == ""


def test_labels_that_are_not_in_the_input_are_named(tmp_path: Path) -> None:
    result = reviewed(tmp_path, manifest(exportTo=["."]), manifest("api", "other", labels=GATEWAYS), space("team"))
    assert "labels of namespaces are not in the input: gateways;" in result.stderr
    result = reviewed(tmp_path, manifest(exportTo=["."]), space("other", **GATEWAYS))
    assert "labels of namespaces are not in the input: team;" in result.stderr


def test_without_an_ambient_mesh_nothing_is_said(tmp_path: Path) -> None:
    assert reviewed(tmp_path, manifest(), space("other", team="payments")).stderr == ""
