"""The generated parts of the documentation and of the chart are as `make reference` writes them."""

from pathlib import Path

import pytest

from tools.reference.files import files
from tools.reference.page import ROOT, page


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in files()])
def test_generated_part_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == files()[ROOT / path], "run `make reference`"


def test_page_without_a_mark_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("text\n")
    with pytest.raises(ValueError, match="has no line <!-- The rest"):
        page(tmp_path / "a.md", "generated")
