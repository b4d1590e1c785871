"""Workflows run nothing that can change under them, with no more rights than they need."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bed.generations import OLDEST

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
PINNED = re.compile(
    r"\s*(?:- )?uses: (?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v\d+\.\d+\.\d+)"
)
WRITES = {
    ("release.yml", "image"): {"packages", "id-token", "attestations", "artifact-metadata"},
    ("release.yml", "chart"): {"contents", "packages", "id-token", "attestations", "artifact-metadata"},
    ("release.yml", "publish"): {"id-token"},
}
"""The jobs that may write, and what."""

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml", "scheduled.yml"]


@every_workflow
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if re.search(r"\buses:", line)]
    used = [step["uses"] for job in jobs(path).values() for step in [job, *job.get("steps", [])] if "uses" in step]
    assert len(lines) == len(used) > 0
    assert not [line for line in lines if not PINNED.fullmatch(line) and "uses: ./" not in line]


def test_an_action_is_the_same_everywhere() -> None:
    found: dict[str, set[tuple[str, str]]] = {}
    for path in WORKFLOWS:
        for match in PINNED.finditer(path.read_text()):
            found.setdefault(match["action"], set()).add((match["commit"], match["version"]))
    assert "actions/checkout" in found
    assert not {action: pins for action, pins in found.items() if len(pins) > 1}


@every_workflow
def test_each_job_may_only_read_unless_it_needs_more(path: Path) -> None:
    assert load(path)["permissions"] in ({}, {"contents": "read"})
    for name, job in jobs(path).items():
        granted = job.get("permissions", {})
        assert isinstance(granted, dict)
        writes = {right for right, level in granted.items() if level == "write"}
        assert writes == WRITES.get((path.name, name), set()), name


@every_workflow
def test_checkouts_leave_no_credentials_behind(path: Path) -> None:
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


@every_workflow
def test_scripts_get_values_by_environment(path: Path) -> None:
    """What GitHub puts into a script's text is run, whoever chose it."""
    assert not [step["run"] for step in steps(path) if "${{" in step.get("run", "")]


def test_scripts_call_what_exists() -> None:
    scripts = [step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {name for script in scripts for name in re.findall(r"\bmake ([a-z-]+)", script)}
    assert called
    assert called <= targets
    assert ".ci/run" in scripts
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@every_workflow
def test_no_job_runs_for_ever(path: Path) -> None:
    assert all("timeout-minutes" in job for job in jobs(path).values() if "steps" in job)


def test_a_release_is_tested_first_and_is_for_both_architectures() -> None:
    release = ROOT / ".github" / "workflows" / "release.yml"
    assert jobs(release)["image"]["needs"] == "test"
    assert jobs(release)["package"]["needs"] == "test"
    assert jobs(release)["chart"]["needs"] == ["image", "package"]
    builds = [step["with"]["platforms"] for step in steps(release) if "/build-push-action@" in step.get("uses", "")]
    assert builds == ["linux/amd64,linux/arm64"]


def test_wheel_and_source_distribution_are_in_the_release_and_published_last() -> None:
    release = ROOT / ".github" / "workflows" / "release.yml"
    (made,) = [step["run"] for step in jobs(release)["chart"]["steps"] if step.get("name") == "Make the release"]
    assert "dist/*.whl dist/*.tar.gz" in made
    assert jobs(release)["publish"]["needs"] == "chart"
    assert jobs(release)["publish"]["steps"][-1]["run"] == "make publish"
    assert "--trusted-publishing always" in (ROOT / "Makefile").read_text()


def test_the_release_writes_into_the_chart_all_that_names_the_owner() -> None:
    scripts = "\n".join(step.get("run", "") for step in jobs(ROOT / ".github/workflows/release.yml")["chart"]["steps"])
    written = set(re.findall(r"(\.[\w.\"/]+) = ", scripts))
    names = {f'.annotations."artifacthub.io/{name}"' for name in ("images", "links", "screenshots", "signKey")}
    assert written == {".home", ".sources", ".image.registry", ".image.repository", ".image.digest", *names}


def test_a_release_is_on_the_default_base_of_the_dockerfile() -> None:
    release = load(ROOT / ".github" / "workflows" / "release.yml")
    assert f"ARG BASE_IMAGE={release['env']['BASE_IMAGE']}" in (ROOT / "Dockerfile").read_text().splitlines()


def test_what_the_release_writes_for_artifact_hub_is_yaml(tmp_path: Path) -> None:
    """The step is run with a stand-in for yq, which notes the variables that the real one would read."""
    program = tmp_path / "yq"
    program.write_text(f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(os.environ)))\n")
    program.chmod(0o755)
    chart = jobs(ROOT / ".github/workflows/release.yml")["chart"]["steps"]
    (script,) = [step["run"] for step in chart if step.get("name", "").startswith("Let the chart name the image")]
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "REGISTRY": "registry.example.com",
        "REPOSITORY": "owner/guard",
        "DIGEST": "sha256:1",
        "VERSION": "1.2.3",
        "SIGN_KEY": "",
        "GITHUB_SERVER_URL": "https://git.example.com",
        "GITHUB_REPOSITORY": "Owner/guard",
        "GITHUB_REF_NAME": "v1.2.3",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    _, seen = map(json.loads, done.stdout.splitlines())
    assert seen["HOMEPAGE"] == "https://git.example.com/Owner/guard"
    (image,) = yaml.safe_load(seen["images"])
    assert image["image"] == "registry.example.com/owner/guard:1.2.3@sha256:1"
    linked = [*yaml.safe_load(seen["links"]), *yaml.safe_load(seen["screenshots"])]
    for address in (one["url"] for one in linked):
        path = re.fullmatch(r"https://git\.example\.com/Owner/guard/(?:blob|raw)/v1\.2\.3/(\S+)", address)
        assert path
        assert (ROOT / path[1]).is_file()


def load(path: Path) -> dict[Any, Any]:
    """A workflow as data; its `on` comes out as True, as YAML 1.1 has it."""
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text())
    return workflow


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow by name."""
    found: dict[str, dict[str, Any]] = load(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    """All steps of all jobs."""
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


def test_every_go_module_of_the_test_bed_is_kept_up_to_date() -> None:
    updates = load(ROOT / ".github" / "dependabot.yml")["updates"]
    (go,) = [one for one in updates if one["package-ecosystem"] == "gomod"]
    modules = {f"/{path.parent.relative_to(ROOT)}" for path in (ROOT / "tests" / "bed").rglob("go.mod")}
    oldest = {f"/{module.relative_to(ROOT)}" for module in (OLDEST.kubernetes, OLDEST.istio)}
    assert set(go["directories"]) == modules - oldest
    assert {one["package-ecosystem"] for one in updates} == {"github-actions", "pip", "docker", "gomod"}


def test_owners_are_named_for_all_files() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()
    assert [line for line in lines if line.startswith("* @")]
