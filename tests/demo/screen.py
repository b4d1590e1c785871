"""What the demo prints: headings, and what programs said under them."""

import sys
import textwrap


def say(title: str) -> None:
    """Print a heading."""
    sys.stdout.write(f"\n\033[1m{title}\033[0m\n" if sys.stdout.isatty() else f"\n{title}\n")
    sys.stdout.flush()


def show(text: str) -> None:
    """Print what something said."""
    sys.stdout.write(textwrap.indent(text.strip("\n"), "   ") + "\n")
    sys.stdout.flush()
