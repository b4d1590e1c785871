"""docs/versions.md: its table has the versions on which a run ended without a failure."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bed.generations import GENERATIONS, Generation
from tests.bed.tools import HELM, required
from tests.versions.run import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "versions.md"
BEGIN, END = "<!-- Made by `make versions`. -->\n", "<!-- End of what is made. -->\n"
HEAD = ("Kubernetes", "Istio", "Helm", "tests passed", "left out")


def write(page: Path, outcomes: Mapping[Generation, Outcome]) -> None:
    """Put what was run into the page; the rows of other generations stay as they are."""
    before, _, rest = page.read_text().partition(BEGIN)
    made, _, after = rest.partition(END)
    lines = ["", *_table(dict(_rows(made)), outcomes), ""]
    page.write_text(before + BEGIN + "\n".join([*lines, END]) + after)


def _table(rows: Mapping[str, str], outcomes: Mapping[Generation, Outcome]) -> Iterator[str]:
    yield _line("", *HEAD)
    yield _line(*["---"] * (len(HEAD) + 1))
    for generation in GENERATIONS:
        if outcome := outcomes.get(generation):
            yield _line(generation.name, *_cells(generation, outcome))
        elif generation.name in rows:
            yield rows[generation.name]


def _rows(made: str) -> Iterator[tuple[str, str]]:
    """The rows of a table by their first cell."""
    for line in made.splitlines():
        if line.startswith("| "):
            yield line.split("|")[1].strip(), line


def _cells(generation: Generation, outcome: Outcome) -> Iterator[str]:
    yield generation.kubernetes_version
    yield generation.istio_version
    yield " and ".join(required(HELM.module, f"helm.sh/helm/v{major}").removeprefix("v") for major in (3, 4))
    yield str(outcome.passed)
    yield "; ".join(f"{number}: {reason}" for reason, number in outcome.left_out.most_common()) or "none"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
