"""Hooks of mkdocs: pages that stand elsewhere in the repository, and links between them and those in docs/."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "chart.md": "charts/serviceentry-guard/README.md",
    "certs.md": "certs/README.md",
    "examples.md": "examples/README.md",
    "tests.md": "tests/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
"""Pages of the site by the file of the repository that they are."""
FILES = ("certs/cert-manager.yaml",)
"""Other files of the repository that pages link to."""
PAGES = {path: page for page, path in ELSEWHERE.items()}
LINK = re.compile(r"\]\((?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere."""
    for place, path in (*ELSEWHERE.items(), *zip(FILES, FILES, strict=True)):
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs' names
    """Lead links to where their files are in the site. One that leads nowhere stays, and fails the strict build."""
    source = ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        place = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or '.')}{match[2] or ''})"

    return LINK.sub(moved, markdown)
