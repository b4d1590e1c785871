"""The end-to-end tests on one generation of Kubernetes and Istio, and what became of them."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.bed.binaries import ASSETS
from tests.bed.generations import WANTED_VERSION, Generation

ROOT = Path(__file__).parents[2]
CHART = ("cluster", "enforced_here", "lifecycle", "match_conditions")
TESTS = ("tests/e2e", *(f"tests/chart/test_{name}.py" for name in CHART))
"""What depends on the API server: the product beside it, and the chart's objects, conditions, upgrades and removal."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many tests passed and failed; how many were left out, by reason."""

    passed: int
    failed: int
    left_out: Counter[str]

    @classmethod
    def read(cls, report: Path) -> "Outcome":
        """Count in pytest's JUnit report."""
        cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 - pytest wrote it a moment ago
        failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
        left_out = Counter(skipped.get("message") or "" for case in cases for skipped in case.iter("skipped"))
        return cls(len(cases) - failed - left_out.total(), failed, left_out)


def run(generation: Generation, workers: str) -> Outcome:
    """Run the tests; what they print goes to standard output. Raises BedError if a program cannot be built."""
    with tempfile.TemporaryDirectory(prefix="serviceentry-guard-versions-") as folder:
        assets, report = Path(folder, "assets"), Path(folder, "report.xml")
        assets.mkdir()
        generation.assets(assets)
        words = [sys.executable, "-m", "pytest", *_options(workers), f"--junitxml={report}", *TESTS]
        told = {ASSETS: str(assets), WANTED_VERSION: f"v{generation.kubernetes_version}"}
        done = subprocess.run(words, cwd=ROOT, env=os.environ | told, check=False)
        if not report.exists():
            raise SystemExit(done.returncode)
        return Outcome.read(report)


def _options(workers: str) -> Iterator[str]:
    yield from ("-q", f"--numprocesses={workers}", "--dist=loadscope", "--no-loadscope-reorder")
