"""What every test may use: one control plane for the whole run, a namespace for each test."""

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from itertools import count
from pathlib import PurePosixPath

import coverage
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from app.telemetry.logs import OUR_LOGGER
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.tls import close_reset_sockets
from tests.command import Programs
from tests.depth import DEEP, examples

NUMBERS = count(1)
_PAUSED: list[coverage.Coverage] = []
"""What measures this process, while it does not."""

# A busy machine is no reason for a property to fail.
settings.register_profile(
    "guard",
    deadline=None,
    derandomize=not DEEP,
    max_examples=examples(200),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("guard")
close_reset_sockets()


# The Go programs of a run end soon: they need not collect their garbage as often, which costs CPU time.
os.environ.setdefault("GOGC", "400")

MEASURED = (
    "unit",
    "contract",
    "e2e/test_doctor.py",
    "e2e/test_leaders.py",
    "e2e/test_main_job.py",
    "e2e/test_references.py",
)
"""Folders and files whose child processes are measured for coverage: it doubles what a start of the command costs.

Between them they start all that runs in processes of its own; others start the same hundreds of times. Coverage is so
never overstated: what only others reach, counts as missed.
"""
MEASURING = "COVERAGE_PROCESS_CONFIG"
"""By this variable coverage.py hands its configuration to child processes."""
UNMEASURED = (
    "chaos",
    "chart",
    "docs",
    "fuzz",
    "harm",
    "mesh",
    "model",
    "observability",
    "e2e/test_backstop.py",
    "e2e/test_cases_e2e.py",
    "e2e/test_model_replay.py",
    "e2e/test_schema.py",
    "unit/test_manifests.py",
)
"""Folders and files that are not measured in their own process either.

They ask the core very often and reach nothing in it that the rest of `unit` does not reach. To measure them doubles
their time. `unit/test_manifests.py` reads huge files; measured, it takes five times as long.
"""

SPARE_SCOPE = "spare"
LONGEST_FIRST = (
    *(SPARE_SCOPE, "mesh", "docs", "chart", "harm", "observability", "e2e", "chaos", "install", "contract"),
    *("model", "fuzz", "unit"),
)
"""Folders in the order in which their tests begin, so that no worker is left with the long ones at the end."""
TOGETHER = ("mesh", "chart", "observability", "docs")
"""Folders whose files share what is slow to start: one worker has all of them."""
SPARE = tuple(
    f"e2e/test_{name}.py"
    for name in (
        *("controllers", "destination_rules", "exemptions", "fairness", "kube_client", "kube_lease", "kube_watch"),
        *("leaders", "policy_reload", "rotation", "siblings", "story"),
    )
)
"""Files that use the second control plane of tests/e2e: one worker has all of them, and starts it once."""
APART = ("chart/test_lifecycle.py", "docs/test_commands.py")
"""Files of such folders that start a cluster of their own and share nothing slow."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Keeps the tests of a file on one worker, and those of some folders and groups, because they share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        if _is_in(SPARE, file):
            return SPARE_SCOPE
        together = file.parent.name in TOGETHER and not _is_in(APART, file)
        return str(file.parent if together else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Take the place of pytest-xdist's groups, which pytest 9.2 does not see."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones."""
    items.sort(key=lambda item: _place(PurePosixPath(item.path)))


def _place(file: PurePosixPath) -> int:
    folder = SPARE_SCOPE if _is_in(SPARE, file) else file.parent.name
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """Set the levels of logs back: a command that ran inside of a test has set its own, and others count records."""
    loggers = [logging.getLogger(), logging.getLogger(OUR_LOGGER)]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def _is_in(names: Sequence[str], file: PurePosixPath) -> bool:
    """Whether one of the names is that of the file's folder, or its own with the folder before it."""
    return file.parent.name in names or f"{file.parent.name}/{file.name}" in names


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure a test and its fixtures, and their child processes, only where it is wanted."""
    file = PurePosixPath(item.path)
    _measure(wanted=not _is_in(UNMEASURED, file))
    with pytest.MonkeyPatch.context() as environment:
        if not _is_in(MEASURED, file):
            environment.delenv(MEASURING, raising=False)
        return (yield)


def pytest_sessionfinish() -> None:
    """Leave coverage.py as it was: it stops by itself when the process ends."""
    _measure(wanted=True)


def _measure(*, wanted: bool) -> None:
    """Pause coverage.py in this process, or have it go on; nothing where it does not run."""
    running = coverage.Coverage.current()  # None while it is paused
    if running and not wanted:
        running.stop()
        _PAUSED.append(running)
    elif wanted and _PAUSED:
        _PAUSED.pop().start()


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Programs:
    """Programs of the checkout, called in this process."""
    return Programs(monkeypatch, capsys)


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A real API server with Istio's CRDs; its programs are built first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        binaries = provide()
    with ControlPlane(binaries) as control_plane:
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A new namespace that no other test uses. It is left behind: nothing here could clean it up."""
    name = f"test-{next(NUMBERS)}"
    control_plane.kubectl("create", "namespace", name)
    return name
