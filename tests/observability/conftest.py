"""A Prometheus that watches a guard to which everything has happened."""

from collections.abc import Iterator

import pytest

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.bed.require import require
from tests.observability.installation import installed
from tests.observability.prometheus import Prometheus

DENIED = 'serviceentry_guard_admission_requests_total{stage="mutate", verdict="denied"}'
FINDINGS = "serviceentry_guard_findings"


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen everything twice: a counter that begins with what it counts has no rate the first time."""
    program = require("prometheus")
    folder = tmp_path_factory.mktemp("observability")
    with ControlPlane(provide()) as control_plane, installed(control_plane, folder) as guard:
        jobs = {"guard-webhook": guard.webhook.health_port, "guard-controller": guard.controller.health_port}
        with Prometheus(program, folder, jobs) as prometheus:
            guard.drive("first")
            wait_until(lambda: prometheus.query(DENIED) == [1], "the first round is scraped")
            guard.drive("second")
            wait_until(lambda: prometheus.query(DENIED) == [2], "the second round is scraped")
            yield prometheus
