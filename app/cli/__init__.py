"""The command line, and the composition root: the only place that reads the environment and builds everything.

A module for each family of commands; each command imports what it alone needs when it runs.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MODULES = {
    "webhook": "servers",
    "controller": "servers",
    "review": "reviewing",
    "audit": "reviewing",
    "policy": "policy",
    "doctor": "doctor",
    "uninstall": "uninstalling",
    "demo": "demo",
}
"""Where each command is, in the order in which help lists them."""


STYLE: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Commands(Mapping[str, Any]):
    """Commands that are imported when they are asked for: a server does not hold for years what only a review needs."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer's own class for commands is private
        """Import a command; raises KeyError where there is none of the name."""
        given = getattr(import_module(f"app.cli.{MODULES[name]}"), name)
        return get_command(given if isinstance(given, typer.Typer) else _alone(given))

    def __iter__(self) -> Iterator[str]:
        """Return the names of all commands."""
        return iter(MODULES)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(MODULES)


class OnDemand(TyperGroup):
    """The group of them."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - what Typer gives its groups
        """Take what Typer gives, and the commands."""
        super().__init__(**given)
        self.commands = Commands()  # type: ignore[assignment]  # nobody adds any later


cli = typer.Typer(
    name="serviceentry-guard",
    cls=OnDemand,
    help="Give every Istio ServiceEntry DNS resolution, and retries by a VirtualService per host.",
    no_args_is_help=True,
    **STYLE,
)
cli.callback()(lambda: None)


def main() -> None:
    """Run the console command."""
    _drop_service_links()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=LOG_FORMAT)
    cli()


def _alone(command: Callable[..., None]) -> typer.Typer:
    alone = typer.Typer(**STYLE)
    alone.command()(command)
    return alone


def _drop_service_links() -> None:
    """Forget SERVICEENTRY_GUARD_PORT=tcp://…, which Kubernetes sets in pods beside a Service of our name."""
    if os.environ.get("SERVICEENTRY_GUARD_PORT", "").startswith("tcp://"):
        del os.environ["SERVICEENTRY_GUARD_PORT"]
