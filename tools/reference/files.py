"""Every file with a generated part, and what it should contain."""

from pathlib import Path

from tools.reference import chart, cli, events, findings, metrics, policy
from tools.reference.page import page


def files() -> dict[Path, str]:
    """Return the wanted content of each file by its path."""
    pages = {each.DOCS: page(each.DOCS, each.reference()) for each in (cli, events, findings, metrics, policy)}
    return {**pages, chart.SCHEMA: chart.values_schema(), chart.README: chart.readme(), chart.CORE: chart.core()}
