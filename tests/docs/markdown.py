"""The pages of the documentation, taken apart: blocks of code, what is said before them, commands with their output."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHERS = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "charts/serviceentry-guard/README.md", "certs/README.md",
    "examples/README.md", "tests/README.md",
)  # fmt: skip
"""Pages outside of docs/, where they are."""
FENCE = re.compile(r"( *)(`{3,}) *(\w*) *(.*)")
TITLE = re.compile(r'title="([^"]+)"')
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
EXITS = re.compile(r"<!-- exits with (.+) -->")
PROMPT = "$ "


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a reader would type it, and the lines that the page shows after it (none: not shown)."""

    text: str
    output: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A fenced block: `before` is the line before it, which may be a comment for the test."""

    page: str
    line: int
    language: str
    info: str
    before: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def title(self) -> str | None:
        """The file that the block is, where it is one."""
        found = TITLE.search(self.info)
        return found[1] if found else None

    @property
    def not_run(self) -> str | None:
        """Why its commands are not run, where they are not."""
        found = NOT_RUN.fullmatch(self.before)
        return found[1] if found else None

    @property
    def exit_codes(self) -> frozenset[int]:
        """What its last command may exit with; those before it exit with 0."""
        found = EXITS.fullmatch(self.before)
        return frozenset(map(int, found[1].split(" or "))) if found else frozenset({0})

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """Its commands, in order. A line that ends in a backslash goes on in the next."""
        commands: list[tuple[str, list[str]]] = []
        continued = False
        for line in self.lines:
            if continued:
                commands[-1] = (f"{commands[-1][0]}\n{line}", [])
            elif line.startswith(PROMPT):
                commands.append((line.removeprefix(PROMPT), []))
            elif commands:
                commands[-1][1].append(line)
            continued = line.endswith("\\") and (continued or line.startswith(PROMPT))
        return tuple(Command(text, tuple(output)) for text, output in commands)


def pages() -> list[str]:
    """Return all pages by their path in the repository."""
    inside = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return [*inside, *(page for page in OTHERS if (ROOT / page).exists())]


def blocks(page: str) -> Iterator[Block]:
    """Take the fenced blocks out of a page."""
    lines = (ROOT / page).read_text().splitlines()
    index = 0
    while index < len(lines):
        if fence := FENCE.fullmatch(lines[index]):
            indent, ticks, language, info = fence.groups()
            end = lines.index(f"{indent}{ticks}", index + 1)
            inside = tuple(line.removeprefix(indent) for line in lines[index + 1 : end])
            yield Block(page, index + 1, language, info, lines[index - 1].strip() if index else "", inside)
            index = end
        index += 1


def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    text = (ROOT / page).read_text()
    return re.sub(r"^( *)(`{3,}).*?^\1\2$", "", text, flags=re.DOTALL | re.MULTILINE)
