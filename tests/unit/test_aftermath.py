"""Hosts whose calls are cut since the guard's VirtualService came: the rule, and the leader's look."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from app.controller.aftermath import BEFORE, LOOK_SECONDS, NOW, Aftermath, aftermath_task, reader
from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.core.insight.aftermath import Deadlines, cut
from app.core.policy.model import default_policy
from app.core.routes.observed import Observed
from app.core.routes.plan import desired
from app.policyfile import PolicyFile
from app.prometheus.client import PrometheusError
from app.settings import ControllerSettings
from tests.builders import HOST, entry
from tests.unit.kube_server import json_answer, running

TODAY = datetime(2027, 3, 31, 12, tzinfo=UTC)
YESTERDAY = "2027-03-30T12:00:00Z"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ((1000, 0), (1000, 31), True),
        ((0, 0), (1000, 31), True),
        ((1000, 30), (1000, 31), False),
        ((1000, 0), (100, 9), False),
        ((1000, 0), (0, 0), False),
    ],
)
def test_a_host_has_the_finding_if_clearly_more_calls_end_at_a_timeout(
    before: tuple[float, float], after: tuple[float, float], told: bool
) -> None:
    assert (cut(HOST, Deadlines(*before), Deadlines(*after)) is not None) is told


def test_the_finding_has_both_shares() -> None:
    found = cut(HOST, Deadlines(2000, 2), Deadlines(1000, 31))
    assert found
    assert found.sentence == (
        'SEG052 spec.hosts: 3.1 % of 1,000 calls to "api.example.com" end at a timeout, '
        "0.1 % before the guard's VirtualService"
    )


class Figures:
    """What Prometheus says, or that it does not."""

    def __init__(self) -> None:
        self.after = {HOST: Deadlines(1000, 31)}
        self.asked: list[tuple[str, frozenset[str]]] = []
        self.error = ""

    def __call__(self, window: str, hosts: frozenset[str], _domains: tuple[str, ...]) -> Mapping[str, Deadlines]:
        self.asked.append((window, hosts))
        if self.error:
            raise PrometheusError(self.error)
        return self.after if window == NOW else {}


class Look:
    """The leader's look at one VirtualService of some age."""

    def __init__(self, created: str = YESTERDAY) -> None:
        policy = PolicyFile(None, lambda _loaded: None)
        inventory = Inventory(policy.current)
        (emitted,) = desired([entry()], default_policy()).objects
        manifest: dict[str, Any] = {**emitted.manifest, "metadata": {**emitted.manifest["metadata"]}}
        manifest["metadata"]["creationTimestamp"] = created
        inventory.put_object(None, Observed.parse(manifest))
        self.figures, self.touched = Figures(), list[str]()
        self.aftermath = Aftermath(inventory, policy, self.touched.append, self.figures, lambda: TODAY)

    def codes(self) -> list[str]:
        """Look, and say what there is to say of the entry."""
        assert self.aftermath.check() == LOOK_SECONDS
        return [one.code for one in self.aftermath.findings(entry())]


def test_a_host_with_cut_calls_is_logged_counted_and_reported_once() -> None:
    look = Look()
    assert look.codes() == look.codes() == ["SEG052"]
    assert look.aftermath.counts() == {("team",): 1}
    assert look.touched == ["team"]
    assert look.figures.asked[:2] == [(BEFORE, frozenset({HOST})), (NOW, frozenset({HOST}))]
    assert look.aftermath.findings(entry(namespace="shop")) == ()


def test_a_host_without_cut_calls_is_no_longer_reported() -> None:
    look = Look()
    look.codes()
    look.figures.after = {HOST: Deadlines(1000, 1)}
    assert look.codes() == []
    assert look.aftermath.counts() == {}
    assert look.touched == ["team", "team"]


@pytest.mark.parametrize("created", ["2027-03-31T11:30:00Z", "2027-03-20T12:00:00Z"])
def test_objects_too_young_or_too_old_to_compare_cost_no_query(created: str) -> None:
    look = Look(created)
    assert look.codes() == []
    assert look.figures.asked == []


def test_a_prometheus_without_answer_changes_no_finding_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    look = Look()
    look.codes()
    look.figures.error = "Prometheus at http://x does not answer"
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert look.codes() == look.codes() == ["SEG052"]
    assert [one.message for one in caplog.records] == [
        "cannot compare calls before and after the VirtualServices: Prometheus at http://x does not answer"
    ]


def test_the_task_is_one_of_the_leader() -> None:
    look = Look()
    leadership = Leadership()
    task = aftermath_task(look.aftermath)(cast("Any", None), leadership)
    task.stop(0.0)
    assert look.figures.asked == []


def test_figures_are_read_in_two_queries_for_each_time() -> None:
    answer = {"status": "success", "data": {"resultType": "vector", "result": []}}
    series = [{"metric": {"destination_service": host}, "value": [1, "4"]} for host in (HOST, "other.example.com")]
    with running() as server:
        server.answers = [json_answer({**answer, "data": {"resultType": "vector", "result": series}})]
        read = reader(ControllerSettings(prometheus=server.url, metrics_matcher=('cluster="prod"',)))
        assert read(BEFORE, frozenset({HOST}), ("cluster.local",)) == {HOST: Deadlines(4, 4)}
        queries = [parse_qs(urlsplit(seen.path).query)["query"][0] for seen in server.seen]
    assert len(queries) == 2
    assert all("[1d] offset 7d))" in one and 'cluster="prod"' in one for one in queries)
    assert 'response_flags=~"(.*,)?UT(,.*)?"' in queries[1]
