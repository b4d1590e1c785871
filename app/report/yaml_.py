"""The report as manifests: entries as they would be stored, and the objects that would be emitted."""

from collections.abc import Iterator

from app.manifests.writer import document
from app.report import Report


def write(report: Report) -> Iterator[str]:
    """Yield YAML documents: each entry that is not refused as it would be stored, and the objects emitted for it."""
    for reviewed in report:
        if reviewed.verdict.allowed:
            yield from map(document, (reviewed.stored, *reviewed.objects))
