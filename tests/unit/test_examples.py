"""Every file of examples/ is complete: policies without findings, manifests that review reads, values of the chart."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.command import run
from tools.reference.chart import SCHEMA
from tools.reference.page import ROOT

EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(kind: str) -> list[Any]:
    found = [path for path in FILES if any(one["kind"] == kind for one in documents(path))]
    return [pytest.param(path, id=str(path.relative_to(EXAMPLES))) for path in found]


@pytest.mark.parametrize("path", of_kind("GuardPolicy"))
def test_policy_has_no_findings(path: Path) -> None:
    checked = run("policy", "check", str(path))
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("path", of_kind("ServiceEntry"))
def test_manifest_can_be_reviewed(path: Path) -> None:
    reviewed = run("review", str(path))
    assert reviewed.exit_code in {0, 1}, reviewed.output
    assert "1 ServiceEntry reviewed" in reviewed.output


@pytest.mark.parametrize("path", of_kind("HelmRelease"))
def test_values_of_the_chart_fit_its_schema(path: Path) -> None:
    (release,) = documents(path)
    Draft7Validator(json.loads(SCHEMA.read_text())).validate(release["spec"]["values"])
    assert (ROOT / release["spec"]["chart"]["spec"]["chart"] / "Chart.yaml").exists()


def test_policy_of_the_recipe_is_the_default_written_out() -> None:
    entry = str(EXAMPLES / "recipe" / "service-entry.yaml")
    written = run("review", "--output=yaml", f"--policy={EXAMPLES / 'recipe' / 'policy.yaml'}", entry).stdout
    assert written == run("review", "--output=yaml", entry).stdout


def test_page_names_every_file_and_folder() -> None:
    page = (EXAMPLES / "README.md").read_text()
    named = {part for path in re.findall(r"[\w./-]+", page) for part in (path, path.removeprefix("examples/"))}
    places = [path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*") if path.is_file() and path.name != "README.md"]
    assert [str(path) for path in places if not {str(path), str(path.parent)} & named] == []
