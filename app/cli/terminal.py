"""Messages and exit codes that all commands share."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

import click
from click.exceptions import Exit

from app.cli.progress import progress
from app.core.resources.service_entry import MANAGER


def fail(*lines: str) -> NoReturn:
    """End with exit code 2, saying why on standard error."""
    for line in lines:
        tell(line)
    raise Exit(2)


def tell(line: str) -> None:
    """Say something on standard error. If it cannot be written, the exit code still tells how the command ended."""
    progress.clear()
    with suppress(OSError):
        click.echo(f"{MANAGER}: {line}", err=True)


def say(*lines: str) -> None:
    """Write lines to standard output, as `write_out` does, in the middle of the work."""
    write_out((f"{line}\n" for line in lines), before=progress.clear)


def can_ask() -> bool:
    """Say whether standard input is a terminal."""
    return bool(sys.stdin) and sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask for a confirmation on a terminal, unless --yes has given it; without a terminal there is no question."""
    if yes or not can_ask():
        return
    if not click.confirm(f"{MANAGER}: {question}", err=True):
        fail("nothing was changed")


def show_log() -> None:
    """Write log records to standard error: for commands that call an API server, whose client may log."""
    import logging

    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=form)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_after_progress)


def _after_progress(_record: object) -> bool:
    progress.clear()
    return True


def in_colour() -> bool:
    """Say whether standard output is a terminal whose user has nothing against colours (no-color.org)."""
    terminal = bool(sys.stdout) and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_out(pieces: Iterable[str], before: Callable[[], None] = progress.end) -> None:
    """Write UTF-8 to standard output, whatever the locale. Who reads it may stop early, as `head` does."""
    if sys.stdout is None:  # as it is where the shell has closed it
        fail("standard output is closed")
    out = sys.stdout.buffer
    try:
        for piece in pieces:
            if out.isatty():  # the line of the progress must not get between two pieces
                before()
            out.write(piece.encode(errors="surrogateescape"))
        out.flush()
    except OSError as error:
        _give_up_output(error)
        deque(pieces, maxlen=0)


def _give_up_output(error: OSError) -> None:
    """Write nothing more to standard output. Ends with exit code 2 unless a reader stopped early."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        fail(f"standard output cannot be written: {error.strerror}")


class _OwnHelp(click.Command):
    """Writes its help as `write_out` does: Click's own writing knows no full disk."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return Click's option with another callback."""
        option = super().get_help_option(ctx)
        if option:
            option.callback = _show_help
        return option


def _show_help(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        say(context.get_help())
        context.exit()


def command(function: Callable[..., None]) -> click.Command:
    """Declare a command."""
    return click.command(cls=_OwnHelp)(function)


class InOrder(_OwnHelp, click.Group):
    """Commands that help lists in the order in which they were declared."""

    command_class = _OwnHelp

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
