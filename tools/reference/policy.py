"""The generated part of docs/policy.md: every field of the policy."""

from collections.abc import Iterable, Iterator

import yaml

from app.core.policy.traffic import RETRY_CONDITIONS
from app.core.rules.catalogue import CATALOGUE
from app.reference import PolicyField, fields
from tools.reference.page import ROOT

DOCS = ROOT / "docs" / "policy.md"
SET = {("virtualService", "overrides", name) for name in ("attempts", "perTryTimeout", "timeout")}
"""Sections that may be null, and are not by default."""
POLICY_FINDINGS = "SEG03"
HEAD = "| field | allowed values | default | |\n|---|---|---|---|"


def reference() -> str:
    """Write every field, every retry condition and every finding of `policy check` as Markdown."""
    top = _flat(field for field in fields() if not field.section)
    parts = ["## Reference", "\n".join([HEAD, *map(_row, top)])]
    for section in fields():
        if section.section:
            table = "\n".join([HEAD, *map(_row, _flat(section.fields))])
            parts += [f"### {section.path[0]}", _plain(section.description), table]
    words = ", ".join(f"`{word}`" for word in RETRY_CONDITIONS)
    codes = 'An HTTP status code that has a name, in quotes (`"503"`), may be listed as well.'
    parts += ["### Retry conditions", f"Istio knows {words}.", codes, "### Findings of `policy check`", _findings()]
    return "\n\n".join(parts) + "\n"


def _flat(among: Iterable[PolicyField]) -> Iterator[PolicyField]:
    for field in among:
        yield field
        yield from _flat(field.fields)


def _row(field: PolicyField) -> str:
    allowed = "" if field.allowed == "section" else field.allowed
    return f"| `{'.'.join(field.path)}` | {_plain(allowed)} | {_default(field)} | {_plain(field.description)} |"


def _default(field: PolicyField) -> str:
    if field.default == list(RETRY_CONDITIONS):
        return "all of them"
    if field.default is None and (field.path in SET or "null" not in field.allowed):
        return ""
    return f"`{yaml.safe_dump([field.default], default_flow_style=True, width=1000).strip()[1:-1]}`"


def _findings() -> str:
    rules = [rule for code, rule in CATALOGUE.items() if code.startswith(POLICY_FINDINGS)]
    return "\n".join(
        ["| code | means | remedy |", "|---|---|---|"]
        + [f"| {rule.code} {rule.name} | {_plain(rule.meaning)} | {_plain(rule.remedy)} |" for rule in rules]
    )


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*")
