"""A Prometheus that watches a guard to which everything has happened."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.bed.require import require
from tests.observability.installation import installed
from tests.observability.prometheus import Prometheus

DENIED = 'serviceentry_guard_admission_requests_total{stage="mutate", verdict="denied"}'
LEADER = "leader_election_master_status == 1"
EMISSIONS = "serviceentry_guard_emission_latency_seconds_count"


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen everything twice: a counter that begins with what it counts has no rate the first time."""
    program = require("prometheus")
    folder = tmp_path_factory.mktemp("observability")
    with ControlPlane(provide()) as control_plane, installed(control_plane, folder) as guard:
        jobs = {"guard-webhook": guard.webhook.health_port, "guard-controller": guard.controller.health_port}
        with Prometheus(program, folder, jobs) as prometheus:
            wait_until(lambda: bool(prometheus.query(LEADER)), "a leader is scraped", 60.0)
            for number, label in enumerate(("first", "second"), start=1):
                (before,) = prometheus.query(EMISSIONS)
                guard.drive(label)
                wait_until(partial(_has_seen, prometheus, number, before), f"the {label} round is scraped", 60.0)
            yield prometheus


def _has_seen(prometheus: Prometheus, denied: int, emissions: float) -> bool:
    """Whether both processes were scraped since a round began: a scrape may take too long on a busy machine."""
    return prometheus.query(DENIED) == [denied] and max(prometheus.query(EMISSIONS), default=0) > emissions
