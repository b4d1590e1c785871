"""The end of an installation."""

from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from app.cli import flags
from app.cli.flags import AtLeast, flag, switch
from app.cli.progress import progress
from app.cli.terminal import command, confirm, fail, say, show_log, tell

if TYPE_CHECKING:
    from app.kube.client import Access


@command
@flags.access()
@flags.namespace("the Lease and the Secrets")
@flags.webhook_configuration("the two")
@click.option(
    "--revoke",
    default="",
    help="RoleBinding and ClusterRoleBinding of running controllers, which are deleted so that none writes again.",
)
@click.option("--secret", "secrets", multiple=True, help="A Secret to delete; can be given again.")
@click.option(
    "--remove-objects/--keep-objects", default=False, help="Whether the VirtualServices and DestinationRules go too."
)
@flag("--timeout", "Seconds for all of it.", type=AtLeast(1), default=600.0)
@switch("--dry-run", "Name the cluster and the objects that would be deleted, and delete nothing.")
@switch("--yes", "Do not ask on a terminal.")
def uninstall(
    access: "Access",
    dry_run: bool,
    yes: bool,
    **settings: Any,  # noqa: ANN401 - the fields of its settings
) -> None:
    """Remove the webhook configurations, admission policies, Secrets and Lease.

    With --remove-objects, remove the generated VirtualServices and DestinationRules too. The webhook configurations go
    first, then the admission policies, the Secrets, the objects and the Lease. `helm uninstall` runs this by itself.
    Exits with 0 where all is gone, and with 1 where something is left: run it again.
    """
    from app.kube.client import Client
    from app.kube.errors import ConfigError
    from app.settings import UninstallSettings
    from app.uninstall import Unfinished, Uninstall

    show_log()
    try:
        client = Client.from_access(access)
    except ConfigError as error:
        fail(str(error))
    try:
        uninstalled = Uninstall(client, UninstallSettings(**settings), tell, progress.step)
        if dry_run:
            with progress.during(f"reading {client.cluster}"):
                say(f"in {client.cluster}, these would go:", *uninstalled.found())
            return
        confirm(f"uninstall {settings['webhook_configuration']} from {client.cluster}?", yes=yes)
        with progress.during(f"uninstalling from {client.cluster}"):
            uninstalled.run()
    except Unfinished as error:
        tell(str(error))
        raise Exit(1) from error
    finally:
        client.close()
