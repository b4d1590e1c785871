"""Writers of what a review found: text for people, YAML for tools."""

from collections.abc import Iterator, Sequence

import yaml

from app.core.findings import Severity
from app.core.survey import Reviewed


def write_text(reviewed: Sequence[Reviewed]) -> Iterator[str]:
    """Yield lines for people, an entry after the other, and a summary."""
    for one in reviewed:
        yield f"{one.source}: ServiceEntry {one.entry.key} {one.outcome}"
        for finding in one.findings:
            yield f"  {finding.severity.value:8}{finding.sentence}"
            if finding.severity is Severity.ERROR:
                yield f"          {finding.rule.remedy}"
        for emitted in one.emitted:
            yield f"  emits   {emitted.kind} {emitted.key}"
    yield _summary(reviewed)


def write_yaml(reviewed: Sequence[Reviewed]) -> Iterator[str]:
    """Yield YAML documents: each entry as it would be stored, then what would be emitted for it."""
    for one in reviewed:
        if not one.verdict.allowed:
            yield "---\n# refused: " + one.verdict.denial.replace("\n", "\n# refused: ")
            continue
        for manifest in (one.stored, *(emitted.manifest for emitted in one.emitted)):
            yield "---\n" + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True).rstrip()


class _Dumper(yaml.CSafeDumper):
    """YAML without anchors: what is written twice stands there twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _summary(reviewed: Sequence[Reviewed]) -> str:
    outcomes = [one.outcome for one in reviewed]
    emitted = sum(len(one.emitted) for one in reviewed)
    return (
        f"{len(reviewed)} {'ServiceEntry' if len(reviewed) == 1 else 'ServiceEntries'} reviewed: "
        f"{outcomes.count('refused')} refused, {outcomes.count('changed')} changed, "
        f"{outcomes.count('allowed')} allowed; {emitted} {'object' if emitted == 1 else 'objects'} to emit"
    )
