"""Files that share a control plane are named as such, so that it is started once."""

import ast
from pathlib import Path

from tests.conftest import SPARE

E2E = Path(__file__).parents[1] / "e2e"
SHARED = {"spare", "spare_api", "loner", "forwarder"}


def asks(path: Path) -> bool:
    """Whether a test or a fixture of the file asks for the second control plane, by itself or through another one."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return any(argument.arg in SHARED for function in functions for argument in function.args.args)


def test_files_that_use_the_second_control_plane_are_grouped() -> None:
    asking = {f"e2e/{path.name}" for path in E2E.glob("test_*.py") if asks(path)}
    assert asking == set(SPARE)
