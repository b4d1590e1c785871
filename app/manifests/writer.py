"""Values as YAML that kubectl reads as the same values."""

import re

import yaml

from app.core.resources.fields import JSON


def dump(value: JSON) -> str:
    """Return a value in block style."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def document(manifest: JSON) -> str:
    """Return a manifest as one document of a stream."""
    return "---\n" + dump(manifest)


class _Dumper(yaml.CSafeDumper):
    """YAML without anchors: a repeated value is written repeatedly."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


# kubectl reads these words as true and false, and PyYAML does not, so they need quotes.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
