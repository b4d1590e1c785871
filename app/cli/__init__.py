"""The command line, and the composition root: the only place that reads the environment and builds everything.

A module for each family of commands; each command imports what it alone needs when it runs.
"""

import logging
import os
import sys

import typer

from app.cli.demo import demo
from app.cli.doctor import doctor
from app.cli.policy import policy_cli
from app.cli.reviewing import audit, review
from app.cli.servers import controller, webhook
from app.cli.uninstalling import uninstall

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

cli = typer.Typer(
    name="serviceentry-guard",
    help="Give every Istio ServiceEntry DNS resolution, and retries by a VirtualService per host.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (webhook, controller, review, audit, doctor, uninstall, demo):
    cli.command()(command)
cli.add_typer(policy_cli)


def main() -> None:
    """Run the console command."""
    _drop_service_links()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=LOG_FORMAT)
    cli()


def _drop_service_links() -> None:
    """Forget SERVICEENTRY_GUARD_PORT=tcp://…, which Kubernetes sets in pods beside a Service of our name."""
    if os.environ.get("SERVICEENTRY_GUARD_PORT", "").startswith("tcp://"):
        del os.environ["SERVICEENTRY_GUARD_PORT"]
