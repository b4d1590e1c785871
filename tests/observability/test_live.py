"""Every query of the dashboard and of the alerts, asked of a real Prometheus that scrapes a running guard."""

import re

import pytest

from tests.bed.processes import wait_until
from tests.observability.prometheus import NAMESPACE, Prometheus
from tests.observability.watching import alerts, panels, selectors, variables

pytestmark = pytest.mark.e2e

LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"].replace(" or vector(0)", "")
    for panel in panels()
    for target in panel["targets"]
    if "serviceentry_guard_cut_hosts" not in target["expr"]
}
"""By panel, without what stands in where there is no series, and without what a controller shows only with a flag."""
OPT_IN = {"ServiceEntryGuardCallsCut"}
"""Alerts on what a controller shows only with a flag that is not given here."""
EXPECTED = {
    "ServiceEntryGuardHostConflicts",
    "ServiceEntryGuardHostsClaimed",
    "ServiceEntryGuardLimitExceeded",
    "ServiceEntryGuardWritesRefused",
}
MAY_WAIT = {
    "ServiceEntryGuardWebhookErrors",  # one of a few requests was none
    "ServiceEntryGuardWebhookSlow",  # on a busy machine
    "ServiceEntryGuardReconcileErrors",  # refused writes are tried again, the more often the longer the tests take
    "ServiceEntryGuardCertificateExpiring",  # certificates of tests are short-lived
}


@pytest.fixture(scope="module")
def chosen(prometheus: Prometheus) -> dict[str, str]:
    """What the variables of the dashboard stand for when All is chosen, as Grafana puts it."""
    values: dict[str, str] = {}
    for name, variable in variables().items():
        if found := LABEL_VALUES.fullmatch(variable.get("definition", "")):
            offered = prometheus.label_values(found[2], put(found[1], values))
            assert offered, name
            values[name] = variable.get("allValue") or f"({'|'.join(offered)})"
    return values


def put(query: str, values: dict[str, str]) -> str:
    """A query with variables replaced by values."""
    values = {"__rate_interval": "5m", **values}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)


@pytest.mark.parametrize("name", QUERIES)
def test_a_panel_has_a_series_to_show(prometheus: Prometheus, chosen: dict[str, str], name: str) -> None:
    query = put(QUERIES[name], chosen)
    wait_until(lambda: bool(prometheus.query(query)), f"{query} gives a number")


def test_the_variables_offer_the_stored_label_values(prometheus: Prometheus, chosen: dict[str, str]) -> None:
    assert chosen["job"] == "(guard-controller|guard-webhook)"
    offered = {
        name: prometheus.label_values(found[2], put(found[1], chosen))
        for name, variable in variables().items()
        if (found := LABEL_VALUES.fullmatch(variable.get("definition", "")))
    }
    assert offered["namespace"] == [NAMESPACE]
    # The others have findings for a moment: what was found at any scrape is offered.
    assert {"missed", "guarded", "repaired"} >= {*offered["entries"]} >= {"missed"}


def test_prometheus_evaluates_every_alert_without_an_error(prometheus: Prometheus) -> None:
    wait_until(lambda: {rule["health"] for rule in prometheus.alerts().values()} == {"ok"}, "all are evaluated")
    assert prometheus.alerts().keys() == alerts().keys()


@pytest.mark.parametrize("name", [name for name in alerts() if name not in OPT_IN])
def test_an_alert_asks_for_series_that_are_there(prometheus: Prometheus, name: str) -> None:
    for selector in selectors(alerts()[name]["expr"]):
        assert prometheus.query(selector), selector


def test_exactly_the_expected_alerts_are_active(prometheus: Prometheus) -> None:
    def waiting() -> set[str]:
        return {name for name, rule in prometheus.alerts().items() if rule["state"] != "inactive"}

    # The mended policy is known with the next scrape only.
    def differing() -> set[str]:
        return (EXPECTED - waiting()) | (waiting() - EXPECTED - MAY_WAIT)

    try:
        wait_until(lambda: not differing(), "alerts are as they should be")
    except TimeoutError as error:
        raise AssertionError(f"{error}; these are not: {sorted(differing())}") from None
