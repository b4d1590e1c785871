"""The verdict as a report: on files, and on a live cluster."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.flags import PolicyFlag, flag, read_policy
from app.cli.terminal import fail, in_colour, tell, write_out
from app.core.problems import PolicyError
from app.report import Output


def review(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH…|-]", show_default=False)] = None,
    policy: PolicyFlag = None,
    namespace: Annotated[str, flag("--namespace", "Namespace of manifests that name none.")] = "default",
    output: Annotated[
        Output | None, flag("--output", "How the report is written; text unless said otherwise.", show_default=False)
    ] = None,
    fix: Annotated[bool, flag("--fix", "Set the resolution in the files, and touch nothing else in them.")] = False,
) -> None:
    """Show what the guard would do with the ServiceEntries in files, folders or on standard input (-).

    Exits with 0 where nothing would be changed or refused, with 1 where something would, and with 2 where
    something could not be read.
    """
    from app.review import Request, Review

    given = paths or ["-"]
    if given.count("-") > 1:
        fail("standard input (-) can be read once only")
    if fix and "-" in given:
        fail("--fix writes files in place: name them, standard input (-) is none")
    try:
        found = Review(Request(given, read_policy(policy), namespace, output, colour=in_colour()))
    except PolicyError as error:
        fail(*error.problems)
    for line in found.repair() if fix else ():
        tell(line)
    write_out(found.written())
    for line in found.complaints():
        tell(line)
    raise typer.Exit(found.exit_code)


def audit(
    policy: PolicyFlag = None,
    kubeconfig: Annotated[
        Path | None, flag("--kubeconfig", "Kubeconfig file; without it what kubectl would use.", show_default=False)
    ] = None,
    output: Annotated[Output, flag("--output", "How the report is written.")] = Output.TEXT,
) -> None:
    """Show what the guard would do with the ServiceEntries of a cluster, which is only read.

    Needs the right to list ServiceEntries, VirtualServices and DestinationRules in all namespaces, and no other.
    Exits as review does; with 1 also where an object of the guard is missing, with 2 where the cluster cannot be read.
    """
    from app.audit import Audit, AuditError, connect
    from app.report import Report, write

    rules = read_policy(policy)
    try:
        report = Report(Audit(connect(kubeconfig), rules), colour=in_colour())
    except AuditError as error:
        fail(str(error))
    write_out(write(report, output))
    raise typer.Exit(report.exit_code)
