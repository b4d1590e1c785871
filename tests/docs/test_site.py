"""The site builds without a warning, and what it says of the program is what the program says of itself."""

import re
from pathlib import Path

import pytest
import yaml

from app.core.policy.reader import parse_policy
from app.core.rules.catalogue import CATALOGUE
from app.core.rules.policy_lint import lint
from tests.docs.markdown import ROOT, blocks, pages, prose
from tests.docs.site_hooks import ELSEWHERE
from tools.reference import findings

RULES = ROOT / "charts" / "serviceentry-guard" / "files" / "alerts.yaml"
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
LANGUAGES = {"console", "yaml", "json", "text", "promql", "sh"}


def test_every_page_is_in_the_site(site: Path) -> None:
    built = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    inside = {page.removeprefix("docs/").replace(".md", ".html") for page in pages() if page.startswith("docs/")}
    assert inside | {page.replace(".md", ".html") for page in ELSEWHERE} <= built


def test_nothing_in_the_site_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|iframe|source)[^>]*\bsrc="?(?:https?:)?//|<link[^>]*\bhref="?(?:https?:)?//')
    assert [path.name for path in site.rglob("*.html") if loaded.search(path.read_text())] == []


def test_every_finding_is_documented() -> None:
    generated = findings.reference()
    assert [code for code in CATALOGUE if f"### {code} " not in generated] == []


def test_the_runbook_has_an_entry_for_every_alert_and_no_other() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert [rule["alert"] for rule in alerts] == re.findall(r"^## (\w+)$", runbook, re.MULTILINE)
    for rule in alerts:
        assert rule["annotations"]["runbook_url"].endswith(f"runbook.md#{rule['alert'].lower()}")


def test_each_entry_of_the_runbook_says_what_it_means_and_what_to_do() -> None:
    _, *entries = (ROOT / "docs" / "runbook.md").read_text().split("\n## ")
    for entry in entries:
        assert re.findall(r"^\*\*(.+?):\*\*", entry, re.MULTILINE) == ["Means", "Look at", "Do"], entry[:40]


@pytest.mark.parametrize("page", pages())
def test_a_test_that_a_page_names_exists(page: str) -> None:
    for file, function in TEST.findall((ROOT / page).read_text()):
        assert (ROOT / file).is_file(), file
        if function:
            assert re.search(rf"^ *(async )?def {function}\(", (ROOT / file).read_text(), re.MULTILINE), function


def test_every_claim_about_security_names_a_test() -> None:
    rows = [line for line in prose("docs/security.md").splitlines() if line.startswith("|") and "---" not in line]
    shown = [row for row in rows if len(row.split(" | ")) in {2, 3} and "shown by" not in row]
    claims = [
        row for row in shown if not row.startswith(("| part", "| webhook", "| controller", "| review", "| audit"))
    ]
    assert len(claims) > 30
    assert [row for row in claims if not TEST.search(row.rpartition(" | ")[2])] == []


@pytest.mark.parametrize("page", pages())
def test_blocks_of_code_are_of_a_known_kind(page: str) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", pages())
def test_yaml_in_a_page_can_be_read_and_policies_are_sound(page: str) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            for document in yaml.safe_load_all("\n".join(block.lines)):
                if document.get("kind") == "GuardPolicy" and document.get("apiVersion"):
                    document.pop("metadata", None)  # that of a KRM function has annotations for Kustomize
                    assert lint(parse_policy(document)) == (), str(block)
