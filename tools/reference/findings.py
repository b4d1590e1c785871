"""The generated part of docs/findings.md: every kind of finding."""

from collections.abc import Iterable

from app.core.rules.catalogue import CATALOGUE, UNFIXABLE
from app.core.rules.findings import Rule
from tools.reference.page import ROOT

DOCS = ROOT / "docs" / "findings.md"
GROUPS = {
    "Of one entry, at admission": range(1, 20),
    "Of an entry and its objects": range(20, 30),
    "Of a policy": range(30, 40),
    "Of entries and teams that share a cluster": range(40, 50),
    "Of manifests in files": range(50, 53),
    "Of an entry in an ambient mesh": range(53, 70),
}
"""Headings by the numbers of their codes."""


def reference() -> str:
    """Write the tables."""
    return "\n\n".join(part for heading, numbers in GROUPS.items() for part in _group(heading, numbers)) + "\n"


def _group(heading: str, numbers: range) -> tuple[str, str]:
    return f"## {heading}", _entries(rule for rule in CATALOGUE.values() if int(rule.code[3:]) in numbers)


def _entries(rules: Iterable[Rule]) -> str:
    return "\n\n".join(
        f"### {rule.code} {rule.name}\n\n{_plain(rule.meaning)}{_unfixable(rule)}\n\n"
        f"**What to do:** {_plain(rule.remedy)}"
        for rule in rules
    )


def _unfixable(rule: Rule) -> str:
    return " It keeps an entry from becoming DNS." if rule in UNFIXABLE else ""


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
