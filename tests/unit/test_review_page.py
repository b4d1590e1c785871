"""The report as a page: one file for people, read in a real browser, with and without scripts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from app.core.insight.calls import Elsewhere, Ending, Traffic, Window
from app.core.insight.cluster import Insight, Usage
from app.core.insight.dns_load import dns_load
from app.core.insight.outlook import outlook
from app.core.resources.sidecars import Group
from app.core.routes.survey import Sourced, Unreadable, survey
from app.report import Output, Report, write
from tests.builders import HTTP, guard_policy, indexed
from tests.docs.test_browser import PHONE, WIDEST, chromium

EVIL = '"><script>document.title = "taken"</script>'
POLICY = guard_policy(hosts={"owners": [{"match": ["owned.example.com"], "namespaces": ["shop"]}]}).on("2027-01-01")


def manifest(name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    prefixed = {f"serviceentry-guard.io/{key}": text for key, text in (annotations or {}).items()}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "team", "uid": "1", "annotations": prefixed},
        "spec": {"hosts": [f"{name}.example.com"], "ports": [HTTP], "resolution": "NONE", **spec},
        "status": {"addresses": []},
    }


def report() -> Report:
    """A report with all that one may have."""
    exempt = {"exempt": "the vendor moves", "exempt-until": "2027-06-30"}
    documents = [
        manifest("changed"),
        manifest("refused", addresses=[EVIL]),
        manifest("allowed", resolution="DNS"),
        manifest("exempt", annotations=exempt),
        manifest("owned", resolution="DNS"),
    ]
    reviewed = survey([Sourced("cluster", document) for document in documents], POLICY)
    entries = [one.repaired for one in reviewed]
    traffic = Traffic(Window("7d"), {"changed.example.com", "allowed.example.com"})
    figures = traffic.at("changed.example.com", "team")
    assert figures
    figures.calls, figures.endings = 48_200, {Ending.TERMINATED: 1494}
    for bound, number in ((1000.0, 42_000.0), (2500.0, 46_000.0), (10_000.0, 48_200.0), (float("inf"), 48_200.0)):
        figures.put(traffic.bound(bound), number)
    usage = Usage(
        Window("7d"),
        list(outlook(indexed(entries), traffic)),
        [Elsewhere("vendor.example", "PassthroughCluster", "team", 5)],
    )
    dns = dns_load([(one.entry, one.repaired) for one in reviewed], [Group("*", 100)], 10)
    return Report(reviewed, [Unreadable("broken.yaml", "is not YAML: <b>")], insight=Insight(usage, dns, {"team": 2}))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text("".join(write(report(), Output.HTML)))
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class Visit:
    """A page that was opened, with all that it asked for and all that went wrong."""

    def __init__(self, context: BrowserContext, file: Path) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.requests: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda one: self.requests.append(one.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda one: self.wrong.append(one.text))
        self.page.goto(file.as_uri())


@pytest.fixture
def opened(browser: Browser, page_file: Path) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Visit(context, page_file)
    context.close()


def test_the_page_asks_for_nothing_and_shows_what_was_found(opened: Visit, page_file: Path) -> None:
    shown = opened.page.inner_text("body")
    assert [one for one in opened.requests if not one.startswith("data:")] == [page_file.as_uri()]
    assert opened.wrong == []
    assert opened.page.title() == "serviceentry-guard: report"
    for words in (
        "5 ServiceEntries reviewed; 2 objects to emit.",
        "3.1 % of 48,200 calls ended with connection termination (UC): the recipe repairs these",
        "Write resolution: DNS.",
        "2027-06-30 ServiceEntry team/exempt",
        '"owned.example.com" belongs to namespace "shop"',
        "No traffic in 7 days: allowed.example.com",
        "5 calls from team to vendor.example were passed through",
        "100 proxies and a TTL of 10 s",
        "broken.yaml: is not YAML: <b>",
    ):
        assert words in shown


def test_text_of_an_author_is_escaped(page_file: Path) -> None:
    assert EVIL not in page_file.read_text()
    assert "&quot;&gt;&lt;script&gt;" in page_file.read_text()


def test_manifests_to_copy_have_nothing_that_the_server_wrote(opened: Visit) -> None:
    manifests = opened.page.locator("pre.yaml").all_text_contents()
    assert any("resolution: DNS" in one and "kind: ServiceEntry" in one for one in manifests)
    assert any("serviceentry-guard.io/per-try-timeout: 10s" in one for one in manifests)
    assert not [one for one in manifests if re.search(r"^(status|  uid|  ownerReferences):", one, re.MULTILINE)]


def test_rows_can_be_filtered_and_sorted(opened: Visit) -> None:
    page, rows = opened.page, opened.page.locator("tr[data-outcome]:visible")
    assert rows.count() == 5
    page.get_by_label("Outcome").select_option("refused")
    assert rows.count() == 2
    page.get_by_label("Outcome").select_option("")
    page.get_by_label("Filter").last.fill("exempt")
    assert rows.count() == 1
    page.get_by_label("Filter").last.fill("")
    page.get_by_title("Sort by Outcome").click()
    assert rows.first.get_attribute("data-outcome") == "refused"
    page.get_by_title("Sort by Outcome").click()
    assert rows.first.get_attribute("data-outcome") == "allowed"


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phone_shows_all_of_it_with_and_without_scripts(
    browser: Browser, page_file: Path, scripts: bool, scheme: Any
) -> None:
    context = browser.new_context(
        viewport={"width": PHONE[0], "height": PHONE[1]}, java_script_enabled=scripts, color_scheme=scheme
    )
    page = Visit(context, page_file).page
    assert page.evaluate(WIDEST) <= PHONE[0]
    assert page.locator("tr[data-outcome]:visible").count() == 5
    page.locator("summary").first.click()
    assert page.locator("pre.yaml").first.is_visible()
    assert page.locator(".tools").count() == (3 if scripts else 0)
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(18, 22, 29)" if scheme == "dark" else "rgb(255, 255, 255)")
    context.close()


def test_on_paper_there_are_no_tools_and_dark_colours_turn_light(opened: Visit) -> None:
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.locator(".tools:visible, details:visible").count() == 0


def test_a_report_of_nothing_is_a_page_too() -> None:
    written = "".join(write(Report(()), Output.HTML))
    assert "0 ServiceEntries reviewed; 0 objects to emit." in written
