"""The site in a real browser: nothing is missing, nothing fails, no link leads nowhere, and a phone shows all of it."""

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.bed.require import require

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE, DESK = (390, 844), (1280, 900)
WHOLE = "() => document.readyState === 'complete' && document.querySelector('footer.md-footer') !== null"
"""The last part of a page is there. On a busy machine the network may be idle for long before all of it has come."""
WIDEST = "() => document.documentElement.scrollWidth"
ANCHORS = "() => [...document.querySelectorAll('[id]')].map(one => one.id)"
LINKS = "() => [...document.querySelectorAll('a[href]')].map(one => one.href)"
HIDDEN = """() => [...document.querySelectorAll('article table, article pre')].filter(one => {
    const box = one.closest('.md-typeset__scrollwrap, pre > code, pre, .highlight');
    return one.getBoundingClientRect().right > innerWidth && !(box && box.scrollWidth > box.clientWidth)
        && ![...one.querySelectorAll('code')].some(code => code.scrollWidth > code.clientWidth);
}).map(one => one.textContent.slice(0, 60))"""
"""Tables and blocks that reach over the edge and cannot be scrolled to."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@dataclass
class Visitor:
    """A page of a browser that notes whatever goes wrong in it."""

    page: Page
    address: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda one: self._note(one.type in {"error", "warning"}, one.text))
        self.page.on("pageerror", lambda error: self._note(wrong=True, what=str(error)))
        self.page.on("requestfailed", lambda one: self._note(wrong=True, what=f"{one.url}: {one.failure}"))
        self.page.on("response", lambda one: self._note(one.status >= 400, f"{one.url}: {one.status}"))
        self.page.on("request", lambda one: self._note(not one.url.startswith((self.address, "data:")), one.url))

    def _note(self, wrong: bool, what: str) -> None:
        if wrong:
            self.wrong.append(what)

    def open(self, page: str) -> Page:
        """Look at a page on a desk, until all of it is loaded."""
        self.page.set_default_timeout(120_000)
        self.page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
        self.page.goto(f"{self.address}/{page}", wait_until="load")
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_function(WHOLE)
        return self.page


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served, on loopback."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, NAMES)), None) or str(require("chromium"))
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    """A visitor whom nothing is remembered of."""
    context = browser.new_context()
    yield Visitor(context.new_page(), address)
    context.close()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a visitor saw of a page: anchors and links, and what of it is too wide for a phone."""

    anchors: set[str]
    links: list[str]
    width: int
    hidden: list[str]
    wrong: list[str]


@pytest.fixture(scope="module")
def tour(browser: Browser, address: str, site: Path) -> dict[str, Seen]:
    """Every page by its name, each loaded once."""
    seen, context = {}, browser.new_context()
    for name in sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if path.name != "404.html"):
        visitor = Visitor(context.new_page(), address)
        page = visitor.open(name)
        anchors, links = set(page.evaluate(ANCHORS)), page.evaluate(LINKS)
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        seen[name] = Seen(anchors, links, page.evaluate(WIDEST), page.evaluate(HIDDEN), visitor.wrong)
        page.close()
    context.close()
    return seen


def test_every_page_loads_without_an_error_or_a_request_to_elsewhere(tour: dict[str, Seen]) -> None:
    assert len(tour) > 15
    assert {name: seen.wrong for name, seen in tour.items() if seen.wrong} == {}


def test_no_link_leads_nowhere(tour: dict[str, Seen], address: str, site: Path) -> None:
    anchors = {f"{address}/{name}": seen.anchors for name, seen in tour.items()}
    inside = {name: [link for link in seen.links if link.startswith(address)] for name, seen in tour.items()}
    assert sum(map(len, inside.values())) > 500
    broken = {link for links in inside.values() for link in links if not leads_somewhere(link, anchors, site, address)}
    assert broken == set()


def test_no_page_is_wider_than_a_phone_and_what_is_wide_can_be_scrolled(tour: dict[str, Seen]) -> None:
    assert {name: seen.width for name, seen in tour.items() if seen.width > PHONE[0]} == {}
    assert {name: seen.hidden for name, seen in tour.items() if seen.hidden} == {}


def leads_somewhere(link: str, anchors: dict[str, set[str]], site: Path, address: str) -> bool:
    """Whether a page has what a link names, or the site the file."""
    target, anchor = urldefrag(link)
    if target in anchors:
        return not anchor or unquote(anchor) in anchors[target]
    path = site / unquote(target.removeprefix(address).lstrip("/"))
    return not anchor and (path.is_file() or (path / "index.html").is_file())


def test_the_search_finds_a_finding_by_its_code(visitor: Visitor) -> None:
    page = visitor.open("index.html")
    page.locator("input[name=query]").click()
    page.locator("input[name=query]").press_sequentially("SEG006")
    first = page.locator(".md-search-result__item a").first  # it changes with each letter that is searched
    expect(first).to_have_attribute("href", re.compile("findings.html"), timeout=120_000)
    assert visitor.wrong == []
