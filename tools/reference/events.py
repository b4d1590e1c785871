"""The generated part of docs/events.md: every kind of Event."""

from app.core.event_catalogue import CATALOGUE
from tools.reference.page import ROOT

DOCS = ROOT / "docs" / "events.md"


def reference() -> str:
    """Write the table."""
    rows = [f"| {one.name} | {one.type} | {one.action} | {one.meaning} |" for one in CATALOGUE]
    return "\n".join(["| reason | type | action | |", "|---|---|---|---|", *rows]) + "\n"
