"""The generated parts of the chart.

The policy in values.schema.json is made from the GuardPolicy model, the table in README.md from values.yaml.
"""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from app.reference import schema
from tools.reference.page import ROOT

CHART = ROOT / "charts" / "serviceentry-guard"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
IDENTITY = {"apiVersion", "kind", "metadata"}
"""What the chart writes itself."""
LOOKAHEAD = "(?=.*[1-9])"
DESCRIBED = "# -- "
BEGIN = "<!-- This table is generated from values.yaml: `make reference` writes it, and a test compares it. -->\n"
END = "<!-- End of the generated table. -->\n"


def values_schema() -> str:
    """Write values.schema.json with the policy as the model has it; the rest is as the file has it."""
    document = json.loads(SCHEMA.read_text())
    model = _for_helm(schema())
    kept = {name: one for name, one in document["definitions"].items() if name[0].islower()}
    document["definitions"] = {**kept, **model["definitions"]}
    document["properties"]["policy"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: one for name, one in model["properties"].items() if name not in IDENTITY},
    }
    return json.dumps(document, indent=2) + "\n"


def table() -> str:
    """Write every value with its default and its meaning as Markdown."""
    rows = [f"| `{path}` | `{default}` | {meaning} |" for path, default, meaning in values()]
    return "\n".join(["| value | default | |", "|---|---|---|", *rows]) + "\n"


def values() -> Iterator[tuple[str, str, str]]:
    """Yield path, default and meaning of every value that values.yaml describes, in order."""
    defaults, path, meaning = yaml.safe_load(VALUES.read_text()), list[str](), ""
    for line in VALUES.read_text().splitlines():
        text = line.strip()
        if text.startswith(DESCRIBED):
            meaning = text.removeprefix(DESCRIBED)
        elif ":" in text and not text.startswith(("#", "-")):
            path = [*path[: (len(line) - len(line.lstrip())) // 2], text.partition(":")[0]]
            if meaning:
                yield ".".join(path), _inline(defaults, path), meaning.replace("|", "\\|")
            meaning = ""


def readme() -> str:
    """Write README.md with the table as it should be."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _inline(defaults: Any, path: list[str]) -> str:
    for name in path:
        defaults = defaults[name]
    return json.dumps(defaults, ensure_ascii=False)


def _for_helm(written: Any) -> Any:
    """Say a schema in draft 7, which every Helm 3 reads, and its patterns in RE2, which has no lookahead."""
    if isinstance(written, list):
        return [_for_helm(one) for one in written]
    if not isinstance(written, dict):
        return written.replace("#/$defs/", "#/definitions/") if isinstance(written, str) else written
    said = {("definitions" if name == "$defs" else name): _for_helm(one) for name, one in written.items()}
    pattern = said.get("pattern")
    if isinstance(pattern, str) and LOOKAHEAD in pattern:
        zero = "|^0s$" if pattern.startswith("^(?:0s|") else ""
        said |= {"pattern": pattern.replace(LOOKAHEAD, ""), "allOf": [{"pattern": f"[1-9]{zero}"}]}
    return said
