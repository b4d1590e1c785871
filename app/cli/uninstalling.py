"""The end of an installation."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.flags import flag
from app.cli.terminal import fail, tell


def uninstall(
    kubeconfig: Annotated[
        Path | None, flag("--kubeconfig", "Kubeconfig file; without it what kubectl would use.", show_default=False)
    ] = None,
    namespace: Annotated[str, flag("--namespace", "Namespace of the Lease and the Secrets.")] = "serviceentry-guard",
    webhook_configuration: Annotated[
        str, flag("--webhook-configuration", "Name of the two webhook configurations.")
    ] = "serviceentry-guard",
    revoke: Annotated[
        str,
        flag(
            "--revoke",
            "RoleBinding and ClusterRoleBinding of running controllers, which are deleted so that none writes again.",
            show_default=False,
        ),
    ] = "",
    secret: Annotated[
        list[str] | None, flag("--secret", "A Secret to delete; can be given again.", show_default=False)
    ] = None,
    remove_objects: Annotated[
        bool, flag("--remove-objects/--keep-objects", "Whether the VirtualServices and DestinationRules go too.")
    ] = False,
    timeout: Annotated[float, flag("--timeout", "Seconds for all of it.", min=1)] = 600.0,
) -> None:
    """Take the guard out of a cluster: what the API server asks it for, and what it wrote, if that is asked.

    The webhook configurations go first, then the admission policies, the Secrets, the objects and the Lease. `helm
    uninstall` runs this by itself. Exits with 0 where all is gone, and with 1 where something is left: run it again.
    """
    from app.kube.client import Client
    from app.kube.errors import ConfigError
    from app.settings import UninstallSettings
    from app.uninstall import Unfinished, Uninstall

    settings = UninstallSettings(
        namespace=namespace,
        webhook_configuration=webhook_configuration,
        revoke=revoke,
        secrets=tuple(secret or ()),
        remove_objects=remove_objects,
        timeout=timeout,
    )
    try:
        client = Client.from_kubeconfig(str(kubeconfig) if kubeconfig else None)
    except ConfigError as error:
        fail(str(error))
    try:
        Uninstall(client, settings, tell).run()
    except Unfinished as error:
        tell(str(error))
        raise typer.Exit(1) from error
    finally:
        client.close()
