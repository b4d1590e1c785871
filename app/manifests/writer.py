"""Values as YAML, so that kubectl reads them as what they are."""

import re

import yaml

from app.core.resources.service_entry import JSON


def dump(value: JSON) -> str:
    """Return a value in block style."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def document(manifest: JSON) -> str:
    """Return a manifest as one document of a stream."""
    return "---\n" + dump(manifest)


class _Dumper(yaml.CSafeDumper):
    """YAML without anchors: what is written twice stands there twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


# kubectl takes these words for true and false where PyYAML does not, so they need quotes.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
