"""The failure that started it, before and after, in a real mesh: what one run of `python -m tests.mesh` measures."""

from pathlib import Path

import pytest

from tests.mesh.advice import ADVICE
from tests.mesh.arms import (
    BACKOFF,
    DYNAMIC,
    IDLE_TIMEOUT,
    KEEPALIVE,
    OFF,
    ORIGINATION,
    RECIPE,
    SPLIT,
    TENANT,
    Arm,
)
from tests.mesh.measuring import Report
from tests.mesh.page import BEGIN, PAGE
from tests.mesh.scenarios import firewall, origination, rotation, shapes, slow, termination, unsafe
from tests.mesh.scenarios.firewall import IDLENESSES, TLS_IDLENESSES, Idleness
from tests.mesh.scenarios.rotation import Rotation
from tests.mesh.trial import Measured

pytestmark = pytest.mark.mesh

REPOSITORY = Path(__file__).parents[2]
SOON = [each for each in rotation.USUAL if each.gone_after == 0]
LATER = [each for each in rotation.USUAL if each.gone_after > 0] + [rotation.VANISHING]
each_idleness = pytest.mark.parametrize("idleness", IDLENESSES, ids=str)
THE_MESSAGE = "503 upstream connect error or disconnect/reset before headers. reset reason: connection termination"
"""What the README begins with, word for word."""


def test_connections_that_end_give_the_message_of_the_problem_before_and_no_error_after(report: Report) -> None:
    before, after = (report.line(termination.TITLE, termination.CUT, arm) for arm in (OFF, RECIPE))
    assert before.message == THE_MESSAGE
    assert before.errors == before.requests // termination.CUT_EVERY
    assert (after.requests, after.errors) == (500, 0)


def failures(line: Measured) -> float:
    """Failed requests without those that a stall of the machine delayed, which are a tenth of all requests at most."""
    delayed = line.facts.get("delayed", 0)
    assert delayed <= line.requests / 10
    return line.errors - delayed


@pytest.mark.parametrize("moved", LATER, ids=str)
def test_an_address_that_goes_2_or_30_seconds_after_dns_moved_costs_no_request(report: Report, moved: Rotation) -> None:
    before, after = (report.line(rotation.TITLE, moved, arm) for arm in (OFF, RECIPE))
    assert before.errors > 0
    assert failures(after) == 0
    assert after.facts["seen by new"] > 0


@pytest.mark.parametrize("moved", SOON, ids=str)
def test_an_address_that_goes_the_moment_dns_moves_is_outlasted_by_a_back_off(report: Report, moved: Rotation) -> None:
    before, after = (report.line(rotation.TITLE, moved, arm) for arm in (OFF, BACKOFF))
    assert before.errors > 0
    assert failures(after) == 0


def test_that_one_of_two_addresses_goes_is_hardly_felt(report: Report) -> None:
    """Which address a try goes to is chance: now and then all four go to the one that refuses."""
    before, after = (report.line(rotation.TITLE, rotation.ONE_OF_TWO, arm) for arm in (OFF, RECIPE))
    assert before.errors > before.requests / 2
    assert failures(after) <= after.requests / 20


@each_idleness
def test_connections_that_a_firewall_forgot_are_given_up_before(report: Report, idleness: Idleness) -> None:
    before, after = (report.line(firewall.TITLE, idleness, arm) for arm in (OFF, IDLE_TIMEOUT))
    assert before.errors > 0
    assert (after.requests >= 500, after.errors) == (True, 0)


@pytest.mark.parametrize("idleness", TLS_IDLENESSES, ids=str)
def test_connections_on_a_tls_port_are_given_up_before_which_the_recipe_alone_cannot(
    report: Report, idleness: Idleness
) -> None:
    circumstances = f"passthrough: {idleness}"
    before, recipe, idle, kept = (
        report.line(firewall.TITLE_TLS, circumstances, arm) for arm in (OFF, RECIPE, IDLE_TIMEOUT, KEEPALIVE)
    )
    assert before.errors > 0
    assert recipe.errors > 0
    assert (idle.requests >= 500, idle.errors) == (True, 0)
    assert (kept.requests >= 500, kept.errors) == (True, 0)


def test_with_tls_origination_retries_reach_what_no_retry_could(report: Report) -> None:
    passed = report.line(firewall.TITLE_TLS, origination.PASSTHROUGH, RECIPE)
    originated = report.line(firewall.TITLE_TLS, origination.ORIGINATED, ORIGINATION)
    assert passed.errors >= passed.requests // termination.CUT_EVERY
    assert (originated.requests, originated.errors) == (500, 0)


def test_the_recipe_repeats_a_sent_post_and_the_split_never_does(report: Report) -> None:
    recipe, split = (report.line(unsafe.TITLE, unsafe.CIRCUMSTANCES, arm) for arm in (RECIPE, SPLIT))
    assert recipe.errors == 0
    assert recipe.facts["repeated"] > 0
    assert split.facts["most"] == 1
    assert split.facts["seen once"] == split.requests
    assert split.errors == split.requests // termination.CUT_EVERY


def test_a_slow_upstream_is_asked_again_and_again_until_an_annotation_gives_it_time(report: Report) -> None:
    off, recipe, mended = (report.line(slow.TITLE, slow.CIRCUMSTANCES, arm) for arm in (OFF, RECIPE, slow.MENDED))
    assert (off.errors, mended.errors) == (0, 0)
    assert recipe.mostly_fails
    assert recipe.facts["most"] == 4
    assert mended.facts["most"] == 1


@pytest.mark.parametrize(
    ("circumstances", "repaired"),
    [(shapes.PORTS, RECIPE), (shapes.GRPC_CALLS, RECIPE), (shapes.WILDCARD, DYNAMIC)],
)
def test_other_shapes_are_repaired_too(report: Report, circumstances: str, repaired: Arm) -> None:
    before, after = (report.line(shapes.TITLE, circumstances, arm) for arm in (OFF, repaired))
    assert before.errors > 0
    assert after.errors == 0


def test_each_of_several_ports_keeps_its_own_requests(report: Report) -> None:
    facts = report.line(shapes.TITLE, shapes.PORTS, RECIPE).facts
    assert facts["seen 0"] >= shapes.REQUESTS
    assert facts["seen 1"] >= shapes.REQUESTS


def test_an_entry_is_repaired_in_the_namespaces_that_it_is_for_and_unknown_elsewhere(report: Report) -> None:
    inside, outside, shared = (
        report.line(shapes.TITLE, where, TENANT) for where in (shapes.INSIDE, shapes.OUTSIDE, shapes.SHARED)
    )
    assert (inside.errors, shared.errors) == (0, 0)
    assert outside.errors >= outside.requests // termination.CUT_EVERY


def test_a_virtual_service_of_the_teams_own_stays_in_force(report: Report) -> None:
    theirs = report.line(shapes.TITLE, shapes.THEIRS, shapes.YIELDING)
    assert theirs.errors == theirs.requests // termination.CUT_EVERY


def test_istios_analysis_has_nothing_to_say_of_anything_that_is_emitted(report: Report) -> None:
    assert len(report.emitted) > 60
    assert [message for message in report.messages if message.origin in report.emitted] == []


def test_the_page_advises_only_what_was_measured(report: Report) -> None:
    for advice in ADVICE:
        without, having = (advice.figure(arm, report.measured) for arm in (advice.without, advice.having))
        assert (without.errors > 0, having.errors == 0) == (True, True) or not advice.repairs
    assert BEGIN in (REPOSITORY / PAGE).read_text()
