"""The changelog has the version of pyproject.toml with its date, and the changes since then above it."""

import re
import tomllib

from tools.reference.page import ROOT


def test_version_has_a_dated_section_below_unreleased() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    sections = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == version
    assert all(date for _, date in sections[1:])
    assert [date for _, date in sections[1:]] == sorted((date for _, date in sections[1:]), reverse=True)
