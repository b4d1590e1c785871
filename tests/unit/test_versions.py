"""What the pages, the chart and the command say of versions is what was run."""

import re
from collections import Counter
from pathlib import Path

import yaml

from app.cli.about import ISTIO, KUBERNETES
from tests.bed.generations import GENERATIONS, NEWEST, OLDEST, minor
from tests.versions.page import BEGIN, END, PAGE, write
from tests.versions.run import Outcome

ROOT = Path(__file__).parents[2]
REPORT = """<testsuites><testsuite>
  <testcase name="passes"/>
  <testcase name="fails"><failure message="no"/></testcase>
  <testcase name="breaks"><error message="no"/></testcase>
  <testcase name="is left out"><skipped message="MutatingAdmissionPolicy needs Kubernetes 1.36"/></testcase>
</testsuite></testsuites>"""
ALL_PASSED = Outcome(passed=3, failed=0, left_out=Counter())


def test_the_rows_of_the_page_have_the_pinned_versions() -> None:
    pinned = {each.name: [each.kubernetes_version, each.istio_version] for each in GENERATIONS}
    for name, *cells in rows(PAGE):
        assert cells[:2] == pinned[name]
        assert int(cells[3]) > 1000


def test_the_newest_is_not_older_than_the_one_of_all_tests() -> None:
    versions = [tuple(map(int, generation.kubernetes_version.split("."))) for generation in GENERATIONS]
    assert versions == sorted(versions)


def test_the_chart_and_the_command_support_the_oldest_that_was_run() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "serviceentry-guard" / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={minor(OLDEST.kubernetes_version)}.0-0"
    assert (minor(OLDEST.kubernetes_version), minor(NEWEST.kubernetes_version)) == KUBERNETES
    assert (minor(OLDEST.istio_version), minor(NEWEST.istio_version)) == ISTIO


def test_a_run_replaces_its_own_row_and_keeps_the_others(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}{END}after\n")
    write(page, {OLDEST: ALL_PASSED})
    write(page, {NEWEST: Outcome(2, 0, Counter({"the server lacks it": 4}))})
    write(page, {NEWEST: Outcome(5, 0, Counter({"the server lacks it": 4}))})
    assert [(row[0], *row[4:]) for row in rows(page)] == [
        ("oldest", "3", "none"),
        ("newest", "5", "4: the server lacks it"),
    ]
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")


def test_an_outcome_counts_what_pytest_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    left_out = Counter({"MutatingAdmissionPolicy needs Kubernetes 1.36": 1})
    assert Outcome.read(report) == Outcome(passed=1, failed=2, left_out=left_out)


def rows(page: Path) -> list[list[str]]:
    """The cells of the table that runs write."""
    made = page.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = re.findall(r"^\| (\w+ \|.*) \|$", made, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]
