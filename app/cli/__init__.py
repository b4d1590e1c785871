"""The command line, and the composition root: the only place that reads the environment and builds everything.

A module for each family of commands; each command imports what it alone needs when it runs.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import click
from click.exceptions import Exit

from app.cli.terminal import InOrder, say, tell
from app.core.resources.service_entry import MANAGER

MODULES = {
    "webhook": "servers",
    "controller": "servers",
    "review": "review",
    "audit": "audit",
    "policy": "policy",
    "doctor": "doctor",
    "uninstall": "uninstall",
    "version": "about",
    "completion": "about",
    "demo": "demo",
}
"""Where each command is, in the order in which help lists them."""


class Commands(Mapping[str, click.Command]):
    """Commands that are imported when they run: a server does not keep the modules of `review` in memory."""

    def __getitem__(self, name: str) -> click.Command:
        """Import a command; raises KeyError if the name is unknown."""
        command: click.Command = getattr(import_module(f"app.cli.{MODULES[name]}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        """Return the names of all commands."""
        return iter(MODULES)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(MODULES)


class OnDemand(InOrder):
    """The group of them."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - Click's own parameters
        """Add the commands to Click's parameters."""
        super().__init__(**given)
        self.commands = Commands()  # type: ignore[assignment]  # no command is added later

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; who interrupts it is told by the exit code that shells give, not by a word."""
        try:
            result: object = super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            raise Exit(130) from interruption
        return result


def show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the version and end, as `--version` asks for."""
    if wanted:
        from app.cli.about import short_version

        say(short_version())
        context.exit()


@click.group(
    MANAGER,
    cls=OnDemand,
    # Help may be as wide as the terminal: names of commands and their texts are not cut.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
def cli() -> None:
    """Give every Istio ServiceEntry DNS resolution, and retries by a VirtualService per host."""


def main() -> None:
    """Run the console command."""
    _drop_service_links()
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        with suppress(OSError):  # standard error may be full: the exit code tells as much
            error.show()
        code = error.exit_code
    except click.Abort:
        tell("aborted")
        code = 1
    sys.exit(code)


def _drop_service_links() -> None:
    """Forget SERVICEENTRY_GUARD_PORT=tcp://…, which Kubernetes sets in pods beside a Service of our name."""
    if os.environ.get("SERVICEENTRY_GUARD_PORT", "").startswith("tcp://"):
        del os.environ["SERVICEENTRY_GUARD_PORT"]
