"""The report as manifests: what would be stored, and what would be emitted."""

import re
from collections.abc import Iterator

import yaml

from app.core.resources import JSON
from app.report import Report


def write(report: Report) -> Iterator[str]:
    """Yield YAML documents: each entry that is not refused as it would be stored, and the objects emitted for it."""
    for one in report:
        if one.verdict.allowed:
            yield from map(document, (one.stored, *one.objects))


def document(manifest: JSON) -> str:
    """Return a manifest as a YAML document."""
    return "---\n" + dump(manifest)


def dump(manifest: JSON) -> str:
    """Return a manifest as YAML."""
    return str(yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


class _Dumper(yaml.CSafeDumper):
    """YAML without anchors: what is written twice stands there twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


# kubectl takes these words for true and false where PyYAML does not, so they need quotes.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
