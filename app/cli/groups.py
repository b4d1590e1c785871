"""Groups of commands."""

import click


class InOrder(click.Group):
    """Commands that help lists in the order in which they were declared."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's
        """Return their names."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each command, whole: Click would cut it at a number of characters."""
        shown = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, _first_sentence(command)) for name, command in shown if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(command: click.Command) -> str:
    paragraph = (command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].removesuffix(".") + "."
