"""docs/events.md's table, written anew by `python -m tests.events_reference`: every Event that is told."""

from pathlib import Path

from app.core.notices import CATALOGUE

DOCS = Path(__file__).parents[1] / "docs" / "events.md"
MARK = "<!-- What follows is made from app/ by `python -m tests.events_reference`; a test compares. -->\n"


def reference() -> str:
    """Write the table."""
    rows = [f"| {one.name} | {one.type} | {one.action} | {one.meaning} |" for one in CATALOGUE]
    return "\n".join(["| reason | type | action | |", "|---|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    written, _, _ = DOCS.read_text().partition(MARK)
    DOCS.write_text(f"{written}{MARK}\n{reference()}")
