"""Commands called in this process. A process of their own takes a second, and is for streams and signals only."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from click.testing import CliRunner, Result

from app.cli import cli


def run(*arguments: str, stdin: str | bytes = "", environment: dict[str, str] | None = None) -> Result:
    """Run a command of the product."""
    return CliRunner().invoke(cli, list(arguments), input=stdin, env=environment, catch_exceptions=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program of the checkout ended."""

    code: int
    stdout: str
    stderr: str


class Programs:
    """Calls the `main` of programs that read sys.argv."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, main: Callable[[], int], *arguments: str) -> Ended:
        """Call it with these arguments; an exit is an exit code."""
        self._monkeypatch.setattr(sys, "argv", [main.__module__, *arguments])
        self._capsys.readouterr()
        try:
            code = main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        return Ended(code, *self._capsys.readouterr())
