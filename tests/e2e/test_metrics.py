"""What both processes expose beside a real API server, held against docs/metrics.md and against promtool."""

import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.bed.guard import Controller, Webhook, fetch
from tests.bed.processes import wait_until
from tests.bed.require import require
from tests.e2e.team import Team
from tools.reference.metrics import both

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("process", ["webhook", "controller"])
def test_promtool_finds_nothing_to_say(team: Team, webhook: Webhook, controller: Controller, process: str) -> None:
    team.store(team.entry())
    team.expect(team.host())
    promtool = require("promtool")
    port = webhook.health_port if process == "webhook" else controller.health_port
    exposed = fetch(port, "/metrics")
    checked = subprocess.run([promtool, "check", "metrics"], input=exposed, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_nothing_is_exposed_that_is_not_documented(team: Team, webhook: Webhook, controller: Controller) -> None:
    team.settle()
    for port, metrics in zip((webhook.health_port, controller.health_port), both(), strict=True):
        allowed = {series for one in metrics.values() for series in one.series}
        families = text_string_to_metric_families(fetch(port, "/metrics"))
        shown = {sample.name for family in families for sample in family.samples}
        assert {name for name in shown if not name.startswith("process_")} <= allowed


def idle(controller: Controller) -> bool:
    """Whether no worker of the emission has anything to do."""
    names = ("workqueue_depth", "workqueue_unfinished_work_seconds")
    return not any(controller.metric(name, name="emission") for name in names)


def test_emission_is_timed_once_for_each_host_of_a_new_entry(team: Team, controller: Controller) -> None:
    team.settle()
    wait_until(lambda: idle(controller), "all that was done before is timed")
    name = "serviceentry_guard_emission_latency_seconds_count"
    before = controller.metric(name)
    team.store(team.entry(hosts=[team.host(label) for label in "abc"]))
    team.expect(*(team.host(label) for label in "abc"))
    wait_until(lambda: controller.metric(name) >= before + 3, "it is timed")
    assert controller.metric(name) == before + 3


def test_unfixable_entries_are_counted_while_they_are_there(unguarded: Team, controller: Controller) -> None:
    def unfixable() -> float:
        return controller.metric("serviceentry_guard_unfixable_entries", namespace=unguarded.namespace)

    network = unguarded.entry(resolution="NONE", addresses=["198.51.100.0/24"])
    unguarded.store(network, unguarded.entry("fine", hosts=[unguarded.host("fine")], resolution="NONE"))
    wait_until(lambda: unfixable() == 1, "it is counted")
    unguarded.delete("api")
    wait_until(lambda: not unfixable(), "it is not counted any more")
    samples = controller.samples("serviceentry_guard_unfixable_entries")
    assert unguarded.namespace not in {sample.labels["namespace"] for sample in samples}
