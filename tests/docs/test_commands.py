"""Every command of the documentation is run as a reader would run it, or the page's source says why it is not."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.cli import cli
from app.kube.client import Client
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import guard
from tests.bed.tools import HELM
from tests.chart.helm import provide as provide_helm
from tests.docs.markdown import PROMPT, ROOT, Block, blocks, pages, prose
from tests.docs.reader import Reader, shows
from tests.e2e.team import Team
from tools.reference.metrics import both

PROGRAMS = ("serviceentry-guard", "kubectl", "helm", "make", "python", "kustomize", "curl", "bash", "git", "docker")
COMMAND = re.compile(rf" *(?:\$ |(?:{'|'.join(map(re.escape, PROGRAMS))}) )[^─\[]*")
"""A line of a block that is a command, and neither a drawing nor the form of one."""
INLINE = re.compile(r"`([^`\n]+)`")
OURS = re.compile(r"(?:^|[|;&(] *|\n|python -m (?=app))(?:serviceentry-guard|app) ([^|;&>\n)#]*)")
VALUES = yaml.safe_load((ROOT / "charts" / "serviceentry-guard" / "values.yaml").read_text())
METRIC = re.compile(
    r"\b(?:serviceentry_guard|workqueue|rest_client|controller_runtime|leader_election)_[a-z_]+[a-z]\b(?!…)"
)


def consoles(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == "console"]


def run_by_a_test(page: str) -> list[Block]:
    return [block for block in consoles(page) if not block.not_run]


PAGES = [page for page in pages() if run_by_a_test(page)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader whose cluster has the guard in it, with the built-in policy, and who has kubectl and helm."""
    binaries, folder = provide(), tmp_path_factory.mktemp("reader")
    programs = {"kubectl": binaries.kubectl, "helm": provide_helm([HELM])[HELM.name]}
    with ControlPlane(binaries) as control_plane, guard(control_plane):
        client = Client.from_kubeconfig(str(control_plane.kubeconfig))
        Team.create(control_plane, client, "guard-probe").wait_until_guarded()
        client.close()
        yield Reader(control_plane, programs, folder)


@pytest.mark.e2e
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, reader: Reader) -> None:
    with reader.at(list(blocks(page))) as folder:
        for block in run_by_a_test(page):
            for command in block.commands:
                code, said = reader.type(command, folder)
                expected = block.exit_codes if command is block.commands[-1] else {0}
                told = "\n".join([f"{block}: {command.text}", *said])
                assert code in expected, told
                assert not command.output or shows(command.output, said), told


def test_output_is_compared_and_dots_stand_for_anything() -> None:
    assert shows(["a", "...", "d ... f"], ["a", "b", "c", "d e f"])
    assert not shows(["a", "b"], ["a", "c"])
    assert not shows(["a"], ["a", "b"])


@pytest.mark.parametrize("page", pages())
def test_a_block_of_commands_has_some_and_gives_a_reason_if_it_is_not_run(page: str) -> None:
    for block in consoles(page):
        assert block.commands, f"{block}: commands begin with {PROMPT!r}"
        assert block.lines[0].startswith(PROMPT), str(block)
        assert block.not_run is None or len(block.not_run.split()) > 2, str(block)


@pytest.mark.parametrize("page", pages())
def test_commands_stand_nowhere_but_in_blocks_of_commands(page: str) -> None:
    for block in blocks(page):
        if block.language != "console" and not block.title:
            assert block.language != "sh", f"{block}: a script is a file, which has a title"
            found = [line for line in block.lines if COMMAND.fullmatch(line)]
            assert not found, f"{block}: {found}"


@pytest.mark.parametrize("page", pages())
def test_code_stands_in_fences_that_say_what_it_is(page: str) -> None:
    parts = re.split(r"\n\s*\n", prose(page))
    in_list = [bool(re.match(r" *(?:[-*]|\d+\.) ", part)) or part.startswith("    ") for part in parts]
    for before, part in zip([False, *in_list], parts, strict=False):
        assert before or not part.startswith("    ") or not part.strip(), f"write ```console or another: {part}"


def mentioned(page: str) -> Iterator[str]:
    """All code of a page: what stands in the text, and all commands, those that are not run too."""
    yield from INLINE.findall(prose(page))
    for block in consoles(page):
        yield from (command.text for command in block.commands)


@pytest.mark.parametrize("page", pages())
def test_flags_and_commands_that_a_page_names_exist(page: str) -> None:
    for text in mentioned(page):
        for arguments in OURS.findall(text.replace("\\\n", " ")):
            assert_known(re.sub(r"[\[\]]", "", arguments), text)


def assert_known(arguments: str, text: str) -> None:
    """Follow the words to a command, and look its flags up."""
    command: Any = cli
    for word in shlex.split(arguments):
        if word.startswith("--"):
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
            assert word.partition("=")[0] in {*known, "--help"}, f"{text}: no {word}"
        elif (commands := getattr(command, "commands", None)) and word.islower():
            assert word in commands, f"{text}: no command {word}"
            command = commands[word]


@pytest.mark.parametrize("page", pages())
def test_targets_and_modules_that_a_page_names_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for text in mentioned(page):
        for target in re.findall(r"^(?:\$ )?make ([a-z][a-z-]*)", text):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), text
        for module in re.findall(r"python -m ((?:tests|tools|app)[\w.]*)", text):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), text


@pytest.mark.parametrize("page", pages())
def test_values_of_the_chart_that_a_page_names_exist(page: str) -> None:
    sections = "|".join(name for name, value in VALUES.items() if isinstance(value, dict) and name != "policy")
    for text in mentioned(page):
        named = re.findall(r"--set[= ]([\w.]+)=", text) + re.findall(rf"^((?:{sections})\.[\w.]+)(?:=.*)?$", text)
        for path in named:
            assert exists(path), f"{page}: no value {path}"


def exists(path: str) -> bool:
    """Whether a path leads somewhere in values.yaml; what stands below an object that is free begins there."""
    value = VALUES
    for name in path.split("."):
        if value == {}:
            return True
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


@pytest.mark.parametrize("page", pages())
def test_metrics_that_a_page_names_exist(page: str) -> None:
    known = {series for registry in both() for one in registry.values() for series in (one.name, *one.series)}
    assert set(METRIC.findall((ROOT / page).read_text())) <= known


@pytest.mark.parametrize("page", pages())
def test_paths_of_the_repository_that_a_page_names_exist(page: str) -> None:
    named = re.findall(
        r"(?<![\w/.])((?:app|tests|tools|charts|certs|docs|examples)/[\w./-]*\w)", (ROOT / page).read_text()
    )
    made = "certs/dev"  # by a command that the page has
    assert [path for path in named if not (ROOT / path).exists() and not path.startswith(made)] == []
