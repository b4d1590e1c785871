"""The demonstration, which needs a checkout."""

import sys
from pathlib import Path

from click.exceptions import Exit

from app.cli.terminal import command, fail

CHECKOUT = Path(__file__).parent.parent.parent


IN_A_CHECKOUT = (CHECKOUT / "tests" / "demo").is_dir()


@command
def demo() -> None:
    """Show the main job on an API server of its own; runs from a checkout, as `make demo` does."""
    import subprocess

    if not IN_A_CHECKOUT:
        fail("demo runs from a checkout of the repository, where the test bed is: use `make demo` there")
    arguments = [sys.executable, "-m", "tests.demo"]
    raise Exit(subprocess.run(arguments, cwd=CHECKOUT, check=False).returncode)  # noqa: S603 - our own module


demo.hidden = not IN_A_CHECKOUT
