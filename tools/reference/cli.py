"""The generated part of docs/cli.md: every command and flag of the program."""

from collections.abc import Iterator

import click

from app.cli import MODULES, cli
from tools.reference.page import ROOT

DOCS = ROOT / "docs" / "cli.md"


def reference() -> str:
    """Write a section for each command."""
    sections = [_section(command, f"serviceentry-guard {path}") for path, command in _commands()]
    return "\n".join(sections)


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name in MODULES:
        command = cli.commands[name]
        if command.hidden or name == "demo":
            continue
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", command.commands[inner]) for inner in command.commands)


def _section(command: click.Command, path: str) -> str:
    # A command remembers the first help option that it had.
    own = click.Context(command, info_name=path, parent=click.Context(cli, **cli.context_settings))
    usage = " ".join(command.collect_usage_pieces(own))
    rows = [row for parameter in command.params if (row := _row(parameter))]
    text = [f"## {path.removeprefix('serviceentry-guard ')}", "", _help(command), "", f"Usage: `{path} {usage}`", ""]
    table = ["| flag | environment | default | |", "|---|---|---|---|", *rows, ""] if rows else []
    return "\n".join([*text, *table])


def _help(command: click.Command) -> str:
    paragraphs = (command.help or "").replace("\b\n", "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _row(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return ""
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    variable = f"`{parameter.envvar}`" if parameter.envvar else ""
    default = _text(parameter.default)
    shown = f"`{default}`" if isinstance(default, str | int | float) and default else ""
    kind = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    choices = " One of " + ", ".join(f"`{_text(one)}`" for one in kind) + "." if kind else ""
    return f"| {names} | {variable} | {shown} | {parameter.help or ''}{choices} |".replace("*.", "\\*.")


def _text(value: object) -> object:
    return getattr(value, "value", value)
