"""The verdict on a live cluster, as a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from app.cli import flags
from app.cli.flags import choice, read_policy
from app.cli.insight import Suggest, asked, prometheus_flags, suggest
from app.cli.progress import progress
from app.cli.proxies import dns_flags
from app.cli.terminal import command, fail, in_colour, show_log, write_out
from app.report import Output

if TYPE_CHECKING:
    from app.kube.client import Access


@command
@flags.policy()
@flags.today()
@flags.access()
@click.option("-n", "--namespace", default="", help="Audit this namespace only; needs no rights outside of it.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Audit all namespaces, as without --namespace.")
@click.option("-l", "--selector", default="", help="Report only ServiceEntries with these labels, such as app=shop.")
@choice("--output", "How the report is written.", Output, Output.TEXT, short="-o")
@prometheus_flags()
@suggest()
@dns_flags("or cluster: those that the cluster has")
def audit(
    policy: Path | None,
    today: str | None,
    access: "Access",
    namespace: str,
    all_namespaces: bool,
    selector: str,
    output: Output,
    suggest: Suggest | None,
    proxies: tuple[str, ...],
    ttl: float,
    **given: Any,  # noqa: ANN401 - the flags about Prometheus
) -> None:
    """Show what the guard would do with the ServiceEntries of a cluster, which is only read.

    Needs the right to list ServiceEntries, VirtualServices and DestinationRules in all namespaces, or in the one that
    is named, and no other. With --namespace, objects of other namespaces that decide too are not seen.
    With --proxies cluster it lists Pods and Sidecars as well. With --prometheus it says what the policy, once it is
    enforced, does to the calls of the mesh; without an answer of Prometheus it goes on without them.

    Exits as review does; with 1 also where an object of the guard is missing, with 2 where the cluster cannot be read.
    """
    from app.audit import AuditError, Part
    from app.cli.auditing import Look, look
    from app.report import write

    show_log()
    _check_flags(namespace, suggest, given["prometheus"], all_namespaces=all_namespaces)
    rules = read_policy(policy, today)
    with progress.during("reading the cluster"):
        try:
            seen = look(Look(access, rules, asked(given), proxies, ttl, suggest, Part(namespace, selector)))
        except AuditError as error:
            fail(str(error))
        if suggest:
            write_out(seen.suggestions(suggest))
            return
        write_out(write(seen.report(colour=in_colour()), output))
        code = seen.exit_code
    raise Exit(code)


def _check_flags(namespace: str, suggest: Suggest | None, prometheus: str | None, *, all_namespaces: bool) -> None:
    """End with a sentence if flags contradict each other, or if one needs another."""
    if namespace and all_namespaces:
        fail("--namespace and --all-namespaces exclude each other")
    if suggest and not prometheus:
        fail("--suggest needs --prometheus")
