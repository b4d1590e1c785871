"""docs/architecture.md has the rooms of pyproject.toml, and pages name only modules and functions that exist."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, blocks, pages, prose

PAGE = "docs/architecture.md"
MODULE = re.compile(r"\b(?:app|tests|tools)/[\w/]+\.py\b")
FOLDER = re.compile(r"`((?:app|tools)(?:/\w+)*)/?`")
DOTTED = re.compile(r"`app((?:\.[a-z_0-9]+)+)`")
ROOM = re.compile(r"^\| `(app(?:/\w+)*)` \| (.+) \|$", re.MULTILINE)
STEP = re.compile(r"^\|[^|]*\|[^|]*\| ((?:`[\w.]+`(?:, )?)+) \| `(app/[\w/]+\.py)` \|$", re.MULTILINE)


def contract(start: str) -> dict[str, Any]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(each for each in contracts if each["name"].startswith(start))


def names(line: str) -> set[str]:
    return {name.strip().removeprefix("app.") for name in line.split("|")}


def modules(room: str) -> set[str]:
    return {path.stem for path in (ROOT / room).glob("*.py") if not path.stem.startswith("__")}


def defined(module: str) -> set[str]:
    """Return the functions and classes of a module, and the methods of its classes as `Class.method`."""
    found = set[str]()
    for node in ast.parse((ROOT / module).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inside = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found.update(f"{node.name}.{each.name}" for each in inside)
    return found


@pytest.mark.parametrize(("heading", "start"), [("app", "shells call"), ("app/core", "inside the core")])
def test_a_picture_of_rooms_has_the_layers_of_its_import_contract(heading: str, start: str) -> None:
    title = f"## The rooms of {heading}"
    place = (ROOT / PAGE).read_text().splitlines().index(title)
    picture = next(block for block in blocks(PAGE) if block.line > place)
    drawn = [names(line.split("│")[1]) for line in picture.lines if line.startswith("│")]
    assert drawn == [names(layer) for layer in contract(start)["layers"]]


def test_each_room_has_a_line_that_names_all_of_its_modules() -> None:
    lines = dict(ROOM.findall(prose(PAGE)))
    rooms = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "app").rglob("__init__.py")}
    assert lines.keys() == rooms
    named = {room: set(re.findall(r"`(\w+)`", line)) for room, line in lines.items()}
    assert named == {room: modules(room) for room in rooms}


def test_each_folder_of_tests_has_a_line_in_their_readme() -> None:
    lines = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", prose("tests/README.md"), re.MULTILINE)
    folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))}
    assert set(lines) == folders


def test_each_step_of_a_walk_names_functions_of_its_module() -> None:
    steps = STEP.findall((ROOT / PAGE).read_text())
    assert len(steps) > 35
    unknown = [
        (function, module)
        for functions, module in steps
        for function in re.findall(r"[\w.]+", functions)
        if function not in defined(module)
    ]
    assert unknown == []


@pytest.mark.parametrize("page", [page for page in pages() if page != "CHANGELOG.md"])
def test_a_module_or_package_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = [*MODULE.findall(text), *FOLDER.findall(text)]
    assert [path for path in named if not (ROOT / path).exists()] == []
    dotted = [Path("app", *rest.split(".")[1:]) for rest in DOTTED.findall(text)]
    assert [str(path) for path in dotted if not exists(path)] == []


def exists(module: Path) -> bool:
    return (ROOT / module).is_dir() or (ROOT / module).with_suffix(".py").is_file()
