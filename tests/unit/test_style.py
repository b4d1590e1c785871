"""The check of phrases finds them across line breaks, in pages and in code."""

from pathlib import Path

import pytest

from tests.command import Programs
from tools import style


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is all that the check reads."""
    monkeypatch.setattr(style, "ROOT", tmp_path)
    monkeypatch.setattr(style, "STILL", {})
    return tmp_path / "README.md"


@pytest.mark.parametrize(
    "written",
    ["Nobody knows.", "It speaks\nno TLS.", 'x = (\n    "it speaks "\n    f"no TLS"\n)', "# it speaks\n# no TLS"],
)
def test_phrase_that_was_replaced_is_found(text: Path, programs: Programs, written: str) -> None:
    text.write_text(written)
    ended = programs.run(style.main)
    assert ended.code == 1
    assert "README.md: …" in ended.stdout


def test_plain_words_pass(text: Path, programs: Programs) -> None:
    text.write_text("The endpoint does not speak TLS.")
    assert programs.run(style.main).code == 0


def test_phrase_may_stand_as_often_as_it_did(text: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "STILL", {"speaks no TLS": 2})
    text.write_text("It speaks no TLS.")
    ended = programs.run(style.main)
    assert (ended.code, "lower its number" in ended.stdout) == (0, True)
