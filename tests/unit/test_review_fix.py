"""`review --fix`: what it writes, and all that it leaves alone."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from app.core.policy.model import default_policy
from app.review.review import Request, Review
from tests.command import run
from tests.depth import examples
from tests.unit import layouts
from tests.unit.reviews import CONFIG_MAP, REFUSED, Folder, entry, text

RESOLUTION = re.compile(
    rb"""(,?\s*)["']?resolution["']?:(?:[ \t]+(?:[&!]\S+ )?["']?(?:NONE|STATIC|DNS|null|~)["']?)?"""
)
ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: team}
"""
HTTP = "{number: 80, name: http, protocol: HTTP}"


def ported(spec: str) -> str:
    """The text with a port that names its host, without which no entry becomes DNS."""
    return spec.replace("PORTS", "ports: [HTTP]").replace("[HTTP]", f"[{HTTP}]")


def fix(content: bytes) -> bytes:
    """What --fix makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "entries.yaml")
        path.write_bytes(content)
        list(Review(Request([str(path)], default_policy())).repair())
        return path.read_bytes()


def meaning(content: bytes) -> list[Any]:
    return list(yaml.load_all(content, Loader=yaml.CSafeLoader))


def repaired(value: Any) -> Any:
    """The same by the rule: every entry that says no resolution, NONE, or STATIC without endpoints becomes DNS."""
    if isinstance(value, dict) and value.get("kind") == "List":
        return value | {"items": [repaired(item) for item in value["items"]]}
    if not isinstance(value, dict) or value.get("kind") != "ServiceEntry":
        return value
    return value | {"spec": value["spec"] | {"resolution": "DNS"}}


@given(layouts.files())
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_fixed_file_says_dns_and_every_other_byte_of_it_is_as_it_was(content: bytes) -> None:
    fixed = fix(content)
    assert meaning(fixed) == [repaired(document) for document in meaning(content)]
    assert RESOLUTION.sub(b"", fixed) == RESOLUTION.sub(b"", content)
    assert fixed.count(b"# resolution: NONE") == content.count(b"# resolution: NONE")
    assert fix(fixed) == fixed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("spec:\n  PORTS\n  hosts: [a.b]\n", "spec:\n  PORTS\n  hosts: [a.b]\n  resolution: DNS\n"),
        ("spec:\n  PORTS\n  hosts: [a.b] # why", "spec:\n  PORTS\n  hosts: [a.b] # why\n  resolution: DNS"),
        ("spec:\n  PORTS\n  hosts:\n  - a.b\n\n  # end\n",
         "spec:\n  PORTS\n  hosts:\n  - a.b\n  resolution: DNS\n\n  # end\n"),
        ("spec: {PORTS, hosts: [a.b], }", "spec: {PORTS, hosts: [a.b], resolution: DNS, }"),
        ("spec: {\n  PORTS,\n  hosts: [a.b]\n }\n", "spec: {\n  PORTS,\n  hosts: [a.b],\n  resolution: DNS\n }\n"),
        ('spec: {"ports": [HTTP], "hosts": ["a.b"]}',
         'spec: {"ports": [HTTP], "hosts": ["a.b"], "resolution": "DNS"}'),
        ("spec:\n  resolution: 'NONE' # c\n  PORTS\n  hosts: [a.b]\n",
         "spec:\n  resolution: 'DNS' # c\n  PORTS\n  hosts: [a.b]\n"),
        ("spec:\n  resolution: # c\n  PORTS\n  hosts: [a.b]\n",
         "spec:\n  resolution: DNS # c\n  PORTS\n  hosts: [a.b]\n"),
        ("spec: {\n  PORTS,\n  hosts: [a.b],\n  resolution:\n }\n",
         "spec: {\n  PORTS,\n  hosts: [a.b],\n  resolution: DNS\n }\n"),
        ("spec:\n  resolution: &r NONE\n  PORTS\n  hosts: [a.b]\n",
         "spec:\n  resolution: &r DNS\n  PORTS\n  hosts: [a.b]\n"),
        ("spec:\n  ? resolution\n  : NONE\n  PORTS\n  hosts: [a.b]\n",
         "spec:\n  ? resolution\n  : DNS\n  PORTS\n  hosts: [a.b]\n"),
        ("spec:\n  PORTS\n  hosts: [a.b]\n  x: |\n    y\n\nz: 1",
         "spec:\n  PORTS\n  hosts: [a.b]\n  x: |\n    y\n  resolution: DNS\n\nz: 1"),
        ("x: &x {resolution: NONE}\nspec:\n  <<: *x\n  PORTS\n  hosts: [a.b]\n",
         "x: &x {resolution: NONE}\nspec:\n  <<: *x\n  PORTS\n  hosts: [a.b]\n  resolution: DNS\n"),
        ("x: &x NONE\nspec: {PORTS, hosts: [a.b], resolution: *x}\n",
         "x: &x NONE\nspec: {PORTS, hosts: [a.b], resolution: DNS}\n"),
    ],
)  # fmt: skip
def test_the_resolution_is_written_where_a_person_would(before: str, after: str) -> None:
    assert fix((ENTRY + ported(before)).encode()).decode() == ENTRY + ported(after)


@pytest.mark.parametrize(
    "odd",
    [
        "x: &spec {PORTS, hosts: [a.b]}\nspec: *spec\n",
        "<<: {spec: {PORTS, hosts: [a.b]}}\n",
        "spec: &spec\n  PORTS\n  hosts: [a.b]\nx: *spec\n",
        "spec:\n  resolution: &r NONE\n  PORTS\n  hosts: [a.b]\nx: *r\n",
        "spec:\n  PORTS\n  hosts: [a.b]\n  resolution: |-\n    NONE\n",
        "spec: {PORTS, hosts: [a.b], resolution}\n",
        'spec: {PORTS, hosts: [a.b], resolution: "NON\\x45"}\n',
    ],
)
def test_fix_reports_an_odd_layout_or_keeps_its_meaning(odd: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    before = ENTRY + ported(odd)
    path.write_text(before)
    result = run("review", "--fix", str(path))
    after = path.read_text()
    if after == before:
        assert result.exit_code == 1
        assert re.fullmatch(f"serviceentry-guard: {path}: is not fixed: its [^\n]+\n", result.stderr)
    else:
        assert meaning(after.encode()) == [repaired(one) for one in meaning(before.encode())]


def test_fixing_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    path = folder.write("a.yaml", entry("a"), CONFIG_MAP, entry("b", resolution="NONE"))
    first = run("review", "--fix", str(tmp_path))
    assert first.exit_code == 0
    assert first.stderr.splitlines() == [
        f"serviceentry-guard: {path}:6: ServiceEntry team/a is fixed",
        f"serviceentry-guard: {path}:33: ServiceEntry team/b is fixed",
    ]
    assert "2 ServiceEntries reviewed: 0 refused, 0 changed, 2 allowed" in first.stdout
    fixed, stat = path.read_bytes(), path.stat()
    second = run("review", "--fix", str(tmp_path))
    assert (second.exit_code, second.stderr) == (0, "")
    assert path.read_bytes() == fixed
    assert path.stat().st_ino == stat.st_ino


def test_fix_keeps_rejected_entries_unchanged_and_exits_1(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    refused, changed = (
        folder.write("a.yaml", entry(**REFUSED)),
        folder.write("b.yaml", entry("b"), entry("c", **REFUSED)),
    )
    before = refused.read_bytes()
    result = run("review", "--fix", str(tmp_path), "--output=json")
    assert result.exit_code == 1
    assert refused.read_bytes() == before
    assert "resolution: DNS" in changed.read_text()
    assert [one["outcome"] for one in json.loads(result.stdout)["entries"]] == ["refused", "allowed", "refused"]


def test_a_file_that_cannot_be_read_to_its_end_is_not_touched(tmp_path: Path) -> None:
    path = Folder(tmp_path).write("a.yaml", entry())
    path.write_text(path.read_text() + "---\n[")
    before = path.read_bytes()
    assert run("review", "--fix", str(path)).exit_code == 2
    assert path.read_bytes() == before


def test_fix_reports_a_file_that_it_cannot_write_and_fixes_the_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder")
    outside = Folder(tmp_path).write("outside.yaml", entry("out"))
    changed = folder.write("b.yaml", entry())
    (folder.path / "a.yaml").symlink_to(outside)
    result = run("review", "--fix", str(folder.path))
    assert result.exit_code == 1
    assert "a.yaml: is not fixed: it is a symbolic link to a file outside the folder\n" in result.stderr
    assert "resolution" not in outside.read_text()
    assert "resolution: DNS" in changed.read_text()


def test_fixing_needs_files_and_standard_input_is_not_a_file() -> None:
    for arguments in ([], ["-"], ["a.yaml", "-"]):
        result = run("review", "--fix", *arguments, stdin=text(entry()))
        assert (result.exit_code, result.stdout) == (2, "")
        wanted = "--fix changes files, and standard input (-) is not a file: name the files or their folder"
        assert result.stderr == f"serviceentry-guard: {wanted}\n"


def test_the_resolution_that_the_policy_chooses_is_written(tmp_path: Path) -> None:
    policy = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
    folder = Folder(tmp_path)
    folder.write("policy.yaml", policy | {"resolution": {"wildcards": "DynamicDNS"}})
    path = folder.write("a.yaml", entry(hosts=["*.example.com"]))
    assert run("review", "--fix", str(path), f"--policy={tmp_path / 'policy.yaml'}").exit_code == 0
    assert "  resolution: DYNAMIC_DNS\n" in path.read_text()
