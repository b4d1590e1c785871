"""The generated parts of the chart.

The policy in values.schema.json is made from the GuardPolicy model, the table in README.md from values.yaml, and the
constants of the matchConditions in templates/_core.tpl from the tables of the core.
"""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from app.core.resources.service_entry import NAMING, PREFIX, TLS_FAMILY, TLS_PORT
from app.core.rules.bypasses import RESERVED_NAMESPACES
from app.core.rules.resolution import RESOLVING
from app.reference import schema
from tools.reference.page import ROOT

CHART = ROOT / "charts" / "serviceentry-guard"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
CORE = CHART / "templates" / "_core.tpl"
IDENTITY = {"apiVersion", "kind", "metadata"}
"""What the chart writes itself."""
ROUND_ROBIN = "DNS_ROUND_ROBIN"
"""Resolves a name as well, and has a warning."""
GENERATED = (
    "{{- /* Constants of the core. This file is generated: `make reference` writes it, and a test compares it. */ -}}"
)
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


def core() -> str:
    """Write a template for each table of the core that the matchConditions name, as JSON: CEL reads it as a literal."""
    constants = {
        "annotationPrefix": PREFIX,
        "compliantResolutions": [name for name in RESOLVING if name != ROUND_ROBIN],
        "namingProtocols": sorted(NAMING),
        "reservedEnds": [f".{name}." for name in sorted(RESERVED_NAMESPACES)],
        "tlsPort": TLS_PORT,
        "tlsProtocols": sorted({*TLS_FAMILY, "HTTP_PROXY"}),
    }
    defined = [
        f'{{{{- define "seg.core.{name}" -}}}}{json.dumps(value)}{{{{- end -}}}}' for name, value in constants.items()
    ]
    return "\n".join([GENERATED, *defined]) + "\n"


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
