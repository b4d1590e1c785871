"""The page of commands is what the program says of itself."""

from tests.cli_reference import DOCS, document


def test_the_page_has_every_command_and_flag_as_the_program_has_them() -> None:
    assert DOCS.read_text() == document(), "write it anew: python -m tests.cli_reference"
