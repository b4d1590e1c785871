"""Every case file, through the three ways in that need no cluster: the core, the webhook's codec and `review`."""

import base64
import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from click.testing import CliRunner

from app.cli import cli
from app.core.routes.survey import Sourced, survey
from app.webhook.admission import Stage, answer
from tests.cases import CASES, Case
from tests.documents import as_text, documents

IN_COMPANY = {"SEG041", "SEG042"}
"""Codes that only the index finds: who sees what is emitted for an entry, and whether its limits let anything be."""
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_case_alone = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.beside], ids=lambda case: case.name
)
"""Those that one object decides, which is all that the webhook sees."""


def admission_review(manifest: dict[str, Any]) -> bytes:
    request = {
        "uid": "1",
        "kind": {"group": "networking.istio.io", "version": "v1", "kind": "ServiceEntry"},
        "operation": "CREATE",
        "namespace": manifest["metadata"]["namespace"],
        "object": manifest,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@each_case
def test_the_core_finds_what_the_case_says_and_emits_what_it_says(case: Case) -> None:
    beside = [Sourced("beside", manifest) for manifest in case.beside]
    reviewed, *_ = survey([Sourced("case", case.manifest()), *beside], case.in_force())
    findings = [f"{finding.severity.value} {finding.code} {finding.path}" for finding in reviewed.findings]
    assert sorted(findings) == sorted(case.findings)
    assert reviewed.outcome == case.outcome
    assert reviewed.stored["spec"].get("resolution") == (case.resolution or case.spec.get("resolution"))
    assert [f"{emitted.kind}/{emitted.key.name}" for emitted in reviewed.emitted] == case.emits
    specs = {emitted.kind: emitted.manifest["spec"] for emitted in reviewed.emitted}
    if case.export_to is not None:
        assert [spec.get("exportTo", ["*"]) for spec in specs.values()] == [case.export_to] * len(specs)
    if case.http:
        assert specs["VirtualService"]["http"] == case.http
    if case.destination:
        assert specs["DestinationRule"] == case.destination


@each_case_alone
def test_the_webhook_answers_as_the_case_says(case: Case) -> None:
    policy = case.in_force()
    given = answer(Stage.MUTATE, admission_review(case.manifest()), policy)
    response = json.loads(given.body)["response"]
    assert set(given.codes) == case.codes - IN_COMPANY
    assert response["allowed"] is (case.outcome != "refused")
    patched = case.manifest()
    if case.outcome == "changed":
        patched = jsonpatch.apply_patch(patched, json.loads(base64.b64decode(response["patch"])))
        assert patched["spec"]["resolution"] == case.resolution
        unmutated = answer(Stage.VALIDATE, admission_review(case.manifest()), policy)
        assert "SEG012" in unmutated.codes
        assert not unmutated.allowed
    else:
        assert "patch" not in response
    assert answer(Stage.VALIDATE, admission_review(patched), policy).allowed is response["allowed"]


@each_case_alone
def test_review_says_what_the_case_says(case: Case, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(as_text(case.guard_policy()))
    (tmp_path / "entry.yaml").write_text(as_text(case.manifest()))
    arguments = ["review", str(tmp_path / "entry.yaml"), "--policy", str(tmp_path / "policy.yaml")]
    text = CliRunner().invoke(cli, arguments)
    assert text.exit_code == (0 if case.outcome == "allowed" else 1)
    assert all(" ".join(finding.split()[1:]) in text.stdout for finding in case.findings)
    assert f"ServiceEntry team/case {case.outcome}" in text.stdout
    written = CliRunner().invoke(cli, [*arguments, "--output", "yaml"])
    given = documents(written.stdout)
    if case.outcome == "refused":
        assert given == []
        assert "is refused: " in written.stderr
    else:
        entry, *emitted = given
        assert entry["spec"].get("resolution") == (case.resolution or case.spec.get("resolution"))
        assert [f"{one['kind']}/{one['metadata']['name']}" for one in emitted] == case.emits


def test_every_row_of_the_decision_table_has_a_case() -> None:
    covered = {case.name.rpartition("-")[0] for case in CASES}
    rows = {"dns", "dns-round-robin", "dynamic-dns", "none-fixable", "static-without-endpoints", "wildcards-only"}
    rows |= {"static-endpoints", "static-workload-selector", "out-of-scope", "exempt-annotation", "exempt-by-policy"}
    obstacles = {"wildcard", "cidr", "shared-port", "workload-selector", "short-name"}
    assert rows | {f"unfixable-{obstacle}" for obstacle in obstacles} <= covered
