"""Nothing that worked before gets worse, with real traffic: what DNS and the recipe would break, the guard does not.

The differential test of istiod's configuration (tests/harm) is the proof; these are its worst rows, seen by a client.
"""

import pytest

from tests.mesh.arms import BY_HAND, EXEMPT, OFF, RECIPE, WARNED, Arm
from tests.mesh.grpc_server import Pace
from tests.mesh.measuring import Report
from tests.mesh.scenarios import harmless, neighbours
from tests.mesh.scenarios.harmless import SPEAKING, THINKING
from tests.mesh.scenarios.termination import CUT_EVERY

pytestmark = pytest.mark.mesh


def test_each_of_two_databases_on_one_port_gets_its_own_connections(report: Report) -> None:
    before, by_hand, after = (report.line(harmless.TITLE, harmless.DATABASES, arm) for arm in harmless.ARMS)
    assert (before.errors, before.requests) == (0, 2 * harmless.REQUESTS)
    assert by_hand.facts["misled"] == harmless.REQUESTS
    assert (after.errors, after.requests) == (0, 2 * harmless.REQUESTS)


@pytest.mark.parametrize(
    ("pace", "cut_after"),
    [
        pytest.param(SPEAKING, 30, id="the recipe's timeout of 30 s"),
        pytest.param(THINKING, 8, id="four tries of 2 s without a message"),
    ],
)
def test_a_grpc_stream_of_a_minute_is_not_cut(report: Report, pace: Pace, cut_after: float) -> None:
    before, by_hand, after = (report.line(harmless.TITLE, harmless.stream(pace), arm) for arm in harmless.ARMS)
    assert (by_hand.errors, after.requests) == (harmless.STREAMS, harmless.STREAMS)
    assert cut_after - 1 < by_hand.slowest < pace.seconds
    for one in (before, after):
        assert one.errors == 0
        assert one.facts["shortest"] >= pace.seconds == 60


def test_each_of_two_ports_that_two_entries_of_one_host_declare_gets_its_own_requests_and_retries(
    report: Report,
) -> None:
    before, by_hand, after = (report.line(harmless.TITLE, harmless.PORTS, arm) for arm in harmless.ARMS)
    assert (before.errors, before.facts["misled"]) == (before.requests // CUT_EVERY, 0)
    assert by_hand.facts["misled"] == harmless.REQUESTS
    assert (after.errors, after.requests) == (0, 2 * harmless.REQUESTS)


def test_no_port_loses_its_cluster_where_one_of_two_entries_of_a_host_keeps_its_resolution(report: Report) -> None:
    before, by_hand, after = (report.line(harmless.TITLE, harmless.SIBLINGS, arm) for arm in harmless.ARMS)
    assert before.errors == 0
    assert by_hand.errors == harmless.REQUESTS  # all of one port: istiod's order within a second is its own
    assert (after.errors, after.requests) == (0, 2 * harmless.REQUESTS)


@pytest.mark.parametrize("circumstances", [neighbours.TUNED, neighbours.TUNED_EXPORTED])
def test_the_annotations_of_a_neighbour_tune_no_other_namespace(report: Report, circumstances: str) -> None:
    by_hand, after = (report.line(neighbours.TITLE, circumstances, arm) for arm in (BY_HAND, RECIPE))
    assert by_hand.mostly_fails
    assert (after.errors, after.requests) == (0, by_hand.requests)


@pytest.mark.parametrize(
    ("circumstances", "arm"),
    [
        pytest.param(neighbours.WITH_ENTRY, WARNED, id="warned"),
        pytest.param(neighbours.WITH_ENTRY, EXEMPT, id="exempt"),
        pytest.param(neighbours.WITHOUT_ENTRY, WARNED, id="warned, without an entry"),
    ],
)
def test_a_virtual_service_of_a_neighbour_decides_in_no_namespace_that_did_not_agree(
    report: Report, circumstances: str, arm: Arm
) -> None:
    by_hand, after = (report.line(neighbours.TITLE, circumstances, one) for one in (BY_HAND, arm))
    assert by_hand.mostly_fails
    assert (after.errors, after.requests) == (0, by_hand.requests)
    assert (by_hand.facts["most"], after.facts["most"]) == (4, 1)


def test_no_request_is_led_past_an_egress_gateway(report: Report) -> None:
    before, by_hand, after = (report.line(neighbours.TITLE, neighbours.GATED, arm) for arm in (OFF, BY_HAND, RECIPE))
    assert by_hand.mostly_fails
    assert (before.errors, after.errors, after.requests) == (0, 0, by_hand.requests)
