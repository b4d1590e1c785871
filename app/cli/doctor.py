"""The doctor: is the installation sound, and how is it taken out of the way if it is not."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from app.cli import flags
from app.cli.flags import flag, switch
from app.cli.progress import progress
from app.cli.terminal import command, confirm, fail, in_colour, say, show_log, tell

if TYPE_CHECKING:
    from app.doctor.diagnosis import Check
    from app.kube.client import Access

COLOURS = {"ok": "green", "problem": "red", "unknown": "yellow"}
VERDICTS = {
    0: "The guard works.",
    1: "The guard does not work as it should: see the problems above.",
    2: "Whether the guard works could not be seen.",
}


@command
@flags.access()
@flags.namespace("the installation")
@flags.webhook_configuration()
@flag("--probe-namespace", "Namespace for the dry-run requests; the webhooks must apply to it.", default="default")
@flag("--connect", "HOST:PORT at which a webhook is reached from here.")
@click.option(
    "--disable/--enable",
    "change",
    default=None,
    help="Stop (or resume) the API server's calls to the webhooks. Takes effect within seconds.",
)
@switch("--dry-run", "With --disable or --enable: name the cluster and the objects, and change nothing.")
@switch("--yes", "With --disable or --enable: do not ask on a terminal.")
def doctor(
    access: "Access",
    namespace: str,
    webhook_configuration: str,
    probe_namespace: str,
    connect: str | None,
    change: bool | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Prove that the guard works, and say what is wrong and what to do where it does not.

    Nothing is stored: two entries are created as dry runs, one that must be changed and one that must be refused.
    Exits with 0 where the guard works, with 1 where it does not, and with 2 where that could not be seen.
    """
    from app.doctor.doctor import Doctor, DoctorError, Target, open_client

    show_log()
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    place = Target(namespace, webhook_configuration, probe_namespace, _host_and_port(connect), in_pod)
    try:
        client = open_client(access)
        patient = Doctor(client, place, progress.step)
        if change is None:
            with progress.during(f"calling {client.cluster}"):
                code = examine(patient.findings())
            raise Exit(code)
        verb = "disable" if change else "enable"
        what = f"{verb} both webhook configurations {webhook_configuration} in {client.cluster}"
        if dry_run:
            say(f"would {what}")
            return
        confirm(f"{what}?", yes=yes)
        with progress.during(f"changing webhook configurations in {client.cluster}"):
            for line in patient.disable() if change else patient.enable():
                say(line)
    except DoctorError as error:
        fail(str(error))
    say(AFTER[change])


AFTER = {
    True: (
        "Within a second or two, entries are neither changed nor refused; the controller goes on as before.\n"
        "Undo it with: serviceentry-guard doctor --enable\n"
        "GitOps may undo it by itself (self-heal): suspend it, or turn the webhooks off in the chart's values."
    ),
    False: "The webhooks are asked again, within a second or two. Prove it with: serviceentry-guard doctor",
}


def examine(findings: "Iterator[Check]") -> int:
    """Print findings as they come, and the verdict; returns the exit code."""
    from app.doctor.diagnosis import exit_code

    seen = []
    for finding in findings:
        seen.append(finding)
        state = finding.state.value
        word = click.style(f"{state:<8}", fg=COLOURS[state], bold=True) if in_colour() else f"{state:<8}"
        say(f"{word} {finding.sentence}")
        if finding.remedy:
            say(f"         -> {finding.remedy}")
    code = exit_code(seen)
    say(VERDICTS[code])
    if code == 1:
        tell("to have the API server ask it no more, at once: serviceentry-guard doctor --disable")
    return code


def _host_and_port(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        fail(f'--connect is "{text}": it must be HOST:PORT, such as localhost:9443')
    return host, int(port)
