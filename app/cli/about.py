"""The version of the command, and its completion in shells."""

import os
import platform
import shutil
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import click

from app.cli.terminal import command, say
from app.core.resources.service_entry import MANAGER

COMMIT_VARIABLE = "SERVICEENTRY_GUARD_COMMIT"
"""Set in the image to the commit that it was built from."""
ISTIO, KUBERNETES = ("1.22", "1.32"), ("1.30", "1.37")
"""The oldest supported version, and the newest that the tests ran on: docs/versions.md."""
SHELLS = ("bash", "zsh", "fish")


@command
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How it is written.")
def version(output: str) -> None:
    """Show the version, the commit, the Python and the supported versions of Istio and Kubernetes."""
    import json

    facts = {
        "version": installed_version(MANAGER),
        "commit": os.environ.get(COMMIT_VARIABLE) or _commit_of_checkout() or "unknown",
        "python": platform.python_version(),
        "platform": f"{sys.platform}/{platform.machine()}",
        "istio": "{} or newer, tested up to {}".format(*ISTIO),
        "kubernetes": "{} or newer, tested up to {}".format(*KUBERNETES),
    }
    if output == "json":
        say(json.dumps(facts, indent=2))
        return
    say(*(f"{name + ':':<12} {value}" for name, value in facts.items()))


@command
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: source <(serviceentry-guard completion bash)
    zsh:  source <(serviceentry-guard completion zsh)
    fish: serviceentry-guard completion fish | source
    """
    from click.shell_completion import get_completion_class

    from app.cli import cli

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell}")
    say(made(cli, {}, MANAGER, "_SERVICEENTRY_GUARD_COMPLETE").source())


def short_version() -> str:
    """Return name and version in one line."""
    return f"{MANAGER} {installed_version(MANAGER)}"


def _commit_of_checkout() -> str:
    """Return the commit of the checkout that this code lies in; empty where it is installed."""
    import subprocess

    root = Path(__file__).parents[2]
    git = shutil.which("git")
    if not git or not (root / ".git").exists():
        return ""
    command = [git, "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, fixed words
    return done.stdout.strip()
