"""What every command says to the terminal, and how it ends."""

import os
import sys
from collections import deque
from collections.abc import Iterable
from typing import NoReturn

import click
from click.exceptions import Exit

from app.core.resources.service_entry import MANAGER


def fail(*lines: str) -> NoReturn:
    """End with exit code 2, saying why on standard error."""
    for line in lines:
        tell(line)
    raise Exit(2)


def tell(line: str) -> None:
    """Say something on standard error."""
    click.echo(f"{MANAGER}: {line}", err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal whether to go on, unless the answer is given already; without one nothing is asked."""
    if yes or not (sys.stdin and sys.stdin.isatty()):
        return
    if not click.confirm(f"{MANAGER}: {question}", err=True):
        fail("nothing was changed")


def show_log() -> None:
    """Write what is logged to standard error: for commands that call an API server, whose client may log."""
    import logging

    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=form)


def in_colour() -> bool:
    """Say whether standard output is a terminal whose user has nothing against colours (no-color.org)."""
    terminal = bool(sys.stdout) and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_out(pieces: Iterable[str]) -> None:
    """Write UTF-8 to standard output, whatever the locale. Who reads it may stop early, as `head` does."""
    if sys.stdout is None:  # as it is where the shell has closed it
        fail("standard output is closed")
    out = sys.stdout.buffer
    try:
        for piece in pieces:
            out.write(piece.encode(errors="surrogateescape"))
        out.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            fail(f"standard output cannot be written: {error.strerror}")
        deque(pieces, maxlen=0)


class InOrder(click.Group):
    """Commands that help lists in the order in which they were declared."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's
        """Return their names."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each command, whole: Click would cut it at a number of characters."""
        shown = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, _first_sentence(command)) for name, command in shown if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(command: click.Command) -> str:
    paragraph = (command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].removesuffix(".") + "."
