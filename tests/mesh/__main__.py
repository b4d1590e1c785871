"""`python -m tests.mesh`: measure the failure and its repair in a real mesh; print it or write it down."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bed.binaries import provide, provide_mesh
from tests.bed.errors import BedError
from tests.mesh.machine import describe
from tests.mesh.measuring import AMBIENT, SCENARIOS, Report, measure, measure_ambient
from tests.mesh.networks import complaint
from tests.mesh.page import PAGE, as_text, write

INSIDE = "SERVICEENTRY_GUARD_MESH"
"""Set in the process that runs in namespaces of its own."""


def main() -> int:
    given = _parser().parse_args()
    if given.write and given.names:
        _parser().error("--write is for a whole run: without names")
    known = AMBIENT if given.ambient else SCENARIOS
    if unknown := {*given.names} - {*known}:
        _parser().error(f"no scenario of this mesh: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if given.write and not given.ambient:
        return _write(given.write)
    if trouble := complaint():
        print(f"mesh: {trouble}", file=sys.stderr)
        return 2
    try:
        binaries, tools = provide(), provide_mesh()
        if INSIDE not in os.environ:
            _enter_namespaces()
        report = (measure_ambient if given.ambient else measure)(binaries, tools, given.names, sys.stderr)
    except BedError as error:
        print(f"mesh: {error}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(json.dumps(report.as_json()))
    else:
        print(*as_text(report.measured), sep="\n")
    return 0


def _write(page: Path) -> int:
    """Measure both meshes, each in a process of its own, and write the page."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for flags in ([], ["--ambient"]):
            path = Path(folder, "report.json")
            run = subprocess.run([sys.executable, "-m", "tests.mesh", *flags, f"--json={path}"], check=False)
            if run.returncode:
                return run.returncode
            measured += Report.from_json(json.loads(path.read_text())).measured
    write(page, dict(describe(provide())), measured)
    return 0


def _enter_namespaces() -> None:
    """Become the same program in a network and a mount namespace that nobody else is in."""
    again = [sys.executable, "-m", "tests.mesh", *sys.argv[1:]]
    os.execvpe("unshare", ["unshare", "--net", "--mount", *again], {**os.environ, INSIDE: "1"})  # noqa: S606


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mesh", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="SCENARIO",
        choices=[*SCENARIOS, *AMBIENT, []],
        help=", ".join([*SCENARIOS, *AMBIENT]),
    )
    parser.add_argument("--ambient", action="store_true", help="the scenarios of an ambient mesh instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured as JSON, for the tests")
    parser.add_argument("--write", nargs="?", const=PAGE, type=Path, metavar="PAGE", help=f"put it into {PAGE}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
