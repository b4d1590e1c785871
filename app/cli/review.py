"""The verdict on files, as a report; and the repair of files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from click.exceptions import Exit

from app.cli import flags
from app.cli.flags import choice, flag, read_policy, switch
from app.cli.progress import progress
from app.cli.proxies import dns_flags, read_groups
from app.cli.terminal import can_ask, command, confirm, fail, in_colour, tell, write_out
from app.core.policy.errors import PolicyError
from app.report import Output

if TYPE_CHECKING:
    from app.review.review import Review

CLUSTER_FOLDERS = (
    "Glob of folders, such as 'clusters/*', from the working folder. Each folder that it matches is a cluster of its "
    "own. Repeat the flag for more globs; in the environment, separate them by spaces."
)


@command
@click.argument("paths", metavar="[PATH|-]...", nargs=-1)
@flags.policy()
@flags.today()
@flags.namespace("manifests that name none", default="default")
@flag("--cluster-folders", CLUSTER_FOLDERS, metavar="GLOB", multiple=True)
@choice("--output", "How the report is written; text unless said otherwise.", Output, short="-o")
@dns_flags()
@click.option("-f", "--filename", "files", multiple=True, metavar="PATH", help="The same as PATH; can be repeated.")
@flag("--allow-empty", "Exit with 0 where a folder has no ServiceEntry, and not with 2.", is_flag=True)
@switch("--fix", "Set the resolution in the files, and touch nothing else in them.")
@switch("--dry-run", "With --fix: show the changes as a diff and write nothing.")
@switch("--yes", "With --fix: do not ask on a terminal.")
def review(
    paths: tuple[str, ...],
    policy: Path | None,
    today: str | None,
    namespace: str,
    cluster_folders: tuple[str, ...],
    output: Output | None,
    files: tuple[str, ...],
    proxies: tuple[str, ...],
    ttl: float,
    allow_empty: bool,
    fix: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Show what the guard would do with the ServiceEntries in files, folders or on standard input (-).

    Conflicts are looked for within a cluster. Each folder given as PATH is a cluster of its own, standard input is
    another, and all files given by name are one cluster together.

    Exits with 0 where nothing would be changed or refused, with 1 where something would, and with 2 where
    something could not be read, or where nothing was reviewed because it has to be rendered first.
    """
    from app.review.review import Request, Review

    given = _checked((*paths, *files) or ("-",), fix=fix)
    if fix and dry_run:
        fix, output = False, Output.DIFF
    try:
        rules = read_policy(policy, today)
        groups = read_groups(proxies, None)
        request = Request(given, rules, namespace, cluster_folders, output, in_colour(), groups, ttl, progress.step)
        with progress.during("reading files"):
            found = Review(request)
    except PolicyError as error:
        fail(*error.lines)
    if fix:
        _fix(found, yes=yes)
    _end(found, given, allow_empty=allow_empty)


def _end(found: "Review", given: Sequence[str], *, allow_empty: bool) -> NoReturn:
    """Write the report and the complaints, and end with the exit code."""
    with progress.during("writing the report"):
        write_out(found.written())
    for line in found.complaints():
        tell(line)
    if found.empty and not allow_empty:
        fail(f"no ServiceEntry in {', '.join(given)}: is it the right folder? Or set --allow-empty")
    raise Exit(found.exit_code)


def _checked(given: tuple[str, ...], *, fix: bool) -> tuple[str, ...]:
    """Return the paths to review, or end with the sentence that says why they cannot be."""
    if given == ("-",) and sys.stdin and sys.stdin.isatty():
        raise click.UsageError("name a file or a folder, or write manifests to standard input")
    if given.count("-") > 1:
        fail("standard input (-) can be read once only")
    if fix and "-" in given:
        fail("--fix changes files, and standard input (-) is not a file: name the files or their folder")
    return given


def _fix(found: "Review", *, yes: bool) -> None:
    """Name the entries and ask, if there is a terminal to ask on; then change their files."""
    if not yes and can_ask() and (lines := list(found.repairs())):
        for line in lines:
            tell(line)
        confirm(f"write the resolution of {len(lines)} ServiceEntries into these files?", yes=False)
    with progress.during("writing files"):
        for line in found.repair():
            tell(line)
