"""Groups of commands."""

import click


class InOrder(click.Group):
    """Commands that help lists in the order in which they were declared."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's
        """Return their names."""
        return list(self.commands)
