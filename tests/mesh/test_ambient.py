"""The failure and its repair at waypoints: what one run of `python -m tests.mesh --ambient` measures."""

import pytest

from tests.mesh.ambient_arms import (
    APART,
    APART_BY_HAND,
    APART_OFF,
    BESIDE,
    BESIDE_BY_HAND,
    CALLER,
    CALLER_PLAIN,
    IDLE_OFF,
    IDLE_TIMEOUT,
    OFF,
    RECIPE,
    SHARING,
    SHARING_BY_HAND,
)
from tests.mesh.arms import Arm
from tests.mesh.measuring import Report
from tests.mesh.scenarios import ambient, ambient_harmless, egress, termination

pytestmark = pytest.mark.mesh


@pytest.mark.parametrize(
    ("circumstances", "off", "repaired"),
    [(ambient.OWN, OFF, RECIPE), (ambient.ELSEWHERE, APART_OFF, APART), (ambient.GRPC_CALLS, APART_OFF, APART)],
)
def test_connections_that_end_cost_every_fifth_request_before_and_none_after(
    ambient_report: Report, circumstances: str, off: Arm, repaired: Arm
) -> None:
    before, after = (ambient_report.line(ambient.TITLE, circumstances, arm) for arm in (off, repaired))
    assert before.errors == before.requests // termination.CUT_EVERY
    assert "reset reason: connection termination" in before.message
    assert after.errors == 0


def test_an_address_that_goes_after_dns_moved_costs_no_request(ambient_report: Report) -> None:
    after = ambient_report.line(ambient.TITLE, ambient.MOVED, APART)
    assert after.errors == 0
    assert after.facts["seen by new"] > 0


def test_connections_that_a_firewall_forgot_are_given_up_before(ambient_report: Report) -> None:
    before, after = (ambient_report.line(ambient.TITLE, ambient.FORGOTTEN, arm) for arm in (IDLE_OFF, IDLE_TIMEOUT))
    assert before.errors > 0
    assert (after.requests >= 500, after.errors) == (True, 0)


@pytest.mark.parametrize(
    ("circumstances", "by_hand", "guarded"),
    [
        (ambient_harmless.ROUTED, APART_BY_HAND, APART),
        (ambient_harmless.SIDECAR, BESIDE_BY_HAND, BESIDE),
        (ambient_harmless.SHARED, SHARING_BY_HAND, SHARING),
    ],
)
def test_what_worked_before_is_broken_by_hand_and_works_with_the_guard(
    ambient_report: Report, circumstances: str, by_hand: Arm, guarded: Arm
) -> None:
    broken, works = (ambient_report.line(ambient_harmless.TITLE, circumstances, arm) for arm in (by_hand, guarded))
    assert broken.mostly_fails
    assert works.errors == 0


def test_istios_analysis_has_nothing_to_say_of_anything_that_is_emitted(ambient_report: Report) -> None:
    assert ambient_report.emitted
    assert [one for one in ambient_report.messages if one.origin in ambient_report.emitted] == []


def test_behind_an_egress_gateway_the_retries_belong_to_the_gateways_leg(ambient_report: Report) -> None:
    plain, retried = (ambient_report.line(egress.TITLE, termination.CUT, arm) for arm in (CALLER_PLAIN, CALLER))
    assert plain.errors == plain.requests // termination.CUT_EVERY
    assert (retried.errors, retried.facts["through the gateway"] >= retried.requests) == (0, True)
