"""The end of an installation."""

from pathlib import Path
from typing import Any

import click
from click.exceptions import Exit

from app.cli import flags
from app.cli.flags import AtLeast, flag
from app.cli.terminal import fail, show_log, tell


@click.command
@flags.kubeconfig()
@flags.namespace("the Lease and the Secrets")
@flags.webhook_configuration("the two")
@flag(
    "--revoke",
    "RoleBinding and ClusterRoleBinding of running controllers, which are deleted so that none writes again.",
    default="",
    show_default=False,
)
@flag("--secret", "A Secret to delete; can be given again.", into="secrets", multiple=True)
@flag("--remove-objects/--keep-objects", "Whether the VirtualServices and DestinationRules go too.", default=False)
@flag("--timeout", "Seconds for all of it.", type=AtLeast(1), default=600.0)
def uninstall(
    kubeconfig: Path | None,
    **settings: Any,  # noqa: ANN401 - the fields of its settings
) -> None:
    """Take the guard out of a cluster: what the API server asks it for, and what it wrote, if that is asked.

    The webhook configurations go first, then the admission policies, the Secrets, the objects and the Lease. `helm
    uninstall` runs this by itself. Exits with 0 where all is gone, and with 1 where something is left: run it again.
    """
    from app.kube.client import Client
    from app.kube.errors import ConfigError
    from app.settings import UninstallSettings
    from app.uninstall import Unfinished, Uninstall

    show_log()
    try:
        client = Client.from_kubeconfig(str(kubeconfig) if kubeconfig else None)
    except ConfigError as error:
        fail(str(error))
    try:
        Uninstall(client, UninstallSettings(**settings), tell).run()
    except Unfinished as error:
        tell(str(error))
        raise Exit(1) from error
    finally:
        client.close()
