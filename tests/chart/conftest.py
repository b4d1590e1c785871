"""Helm and the chart, with and without a cluster."""

from pathlib import Path

import pytest

from tests.chart.helm import Helm, provide


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> dict[str, Path]:
    """Helm 3, Helm 4 and kubeconform; built first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return provide()


@pytest.fixture(scope="session")
def helm(programs: dict[str, Path]) -> Helm:
    """Helm 3."""
    return Helm(programs["helm"])


@pytest.fixture(scope="session")
def helm4(programs: dict[str, Path]) -> Helm:
    """Helm 4."""
    return Helm(programs["helm4"])
