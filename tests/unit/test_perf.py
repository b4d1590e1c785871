"""What the benchmarks make of what they measure, and that they measure what they say."""

import sys
from pathlib import Path

import pytest

from tests.perf.command import run
from tests.perf.installation import ENVIRONMENT, REPOSITORY, digest
from tests.perf.share import Share

MEBIBYTE = 1024**2
ALLOCATING = """
import sys
from pathlib import Path
kept = b"x" * 60 * 1024**2
Path(sys.argv[1]).write_text(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in (
        "pyproject.toml",
        "LICENSE",
        "requirements/runtime.txt",
        "app/cli.py",
        "app/core/routes/plan.py",
        "README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_time_a_webhook_adds_is_split_into_the_floor_and_our_share() -> None:
    share = Share(without=5.0, idle=8.0, ours=10.0)
    assert (share.floor, share.beyond, share.added) == (3.0, 2.0, 5.0)
    assert (share.idle_ratio, share.ratio) == (1.6, 2.0)


def test_scaled_by_the_create_ours_stays_the_same_part_of_it() -> None:
    slow = Share(without=5.0, idle=8.0, ours=10.0)
    assert slow.for_create_of(1.8) == pytest.approx(1.8)
    assert slow.for_create_of(slow.without) == slow.added


def test_scaled_by_the_floor_ours_stays_as_many_times_as_much() -> None:
    slow = Share(without=5.0, idle=8.0, ours=10.0)
    assert slow.for_floor_of(1.5) == pytest.approx(2.5)
    assert slow.for_floor_of(slow.floor) == pytest.approx(slow.added)


def test_the_benchmarks_run_the_product_with_the_environment_of_the_image() -> None:
    words = (REPOSITORY / "Dockerfile").read_text().split()
    assert ENVIRONMENT
    assert all(f"{name}={value}" in words for name, value in ENVIRONMENT.items())


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_the_peak_of_a_program_is_its_own_and_not_that_of_who_started_it(tmp_path: Path) -> None:
    ours = b"x" * 150 * MEBIBYTE
    taken = run(sys.executable, "-c", ALLOCATING, str(tmp_path / "peak"), ends_with=0)
    assert taken.mebibytes == pytest.approx(int((tmp_path / "peak").read_text()) / 1024, abs=2)
    assert 60 < taken.mebibytes < len(ours) / MEBIBYTE


def test_an_unexpected_exit_code_is_not_a_measurement() -> None:
    with pytest.raises(AssertionError, match="in the way"):
        run(sys.executable, "-c", "import sys; sys.exit('something is in the way')", ends_with=0)


@pytest.mark.parametrize(
    "changed", ["pyproject.toml", "requirements/runtime.txt", "app/core/routes/plan.py", "app/new.py"]
)
def test_a_change_to_an_installed_file_changes_the_digest(repository: Path, changed: str) -> None:
    before = digest(repository)
    with (repository / changed).open("a") as file:
        file.write("changed")
    assert digest(repository) != before


def test_a_module_that_moves_makes_another_digest(repository: Path) -> None:
    before = digest(repository)
    (repository / "app/core/routes/plan.py").rename(repository / "app/plan.py")
    assert digest(repository) != before


@pytest.mark.parametrize("left", ["README.md", "app/__pycache__/cli.pyc"])
def test_a_file_outside_of_the_installation_does_not_change_the_digest(repository: Path, left: str) -> None:
    before = digest(repository)
    (repository / left).parent.mkdir(exist_ok=True)
    (repository / left).write_text("changed")
    assert digest(repository) == before
