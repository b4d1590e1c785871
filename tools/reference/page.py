"""A page whose end is generated: what a person wrote stands before a mark, what the generator wrote after it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "<!-- The rest of this page is generated: `make reference` writes it, and a test compares it. -->\n"


def page(path: Path, generated: str) -> str:
    """Return the page with its generated end replaced. The mark must be in the file."""
    written, mark, _ = path.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{path} has no line {MARK.strip()}")
    return f"{written}{MARK}\n{generated}"
