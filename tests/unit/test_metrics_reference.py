"""The reference finds every metric, and metrics keep to the rules for labels and buckets."""

import re
from itertools import pairwise

from app.core.rules.catalogue import CATALOGUE
from app.telemetry.metrics import ControllerMetrics, WebhookMetrics
from tools.reference.metrics import both, documented

FORBIDDEN = {"host", "object", "uid", "user", "service_entry", "virtual_service", "host_name"}
"""Labels that would have a value for each object of a cluster; `name` is that of a queue or of the Lease."""
OF_POLICIES = "SEG03"
IN_COMPANY = {
    "SEG021",
    "SEG022",
    "SEG024",
    "SEG026",
    "SEG041",
    "SEG042",
    "SEG049",
    "SEG050",
    "SEG052",
    "SEG057",
    "SEG058",
    "SEG060",
    "SEG061",
}
"""Findings on an entry beside other objects, which admission does not see."""


def test_every_metric_is_found_by_the_reference() -> None:
    for metrics in (WebhookMetrics(), ControllerMetrics()):
        exposed = {family.name for family in metrics.registry.collect() if not family.name.startswith("process_")}
        found = {re.sub(r"_(total|info)$", "", name) for name in documented(metrics.registry)}
        assert found == exposed


def test_no_label_names_what_a_cluster_may_have_any_number_of() -> None:
    for documented_ in both():
        assert not {label for one in documented_.values() for label in one.labels} & FORBIDDEN


def test_admission_buckets_resolve_a_tenth_of_a_millisecond_to_fifty() -> None:
    webhook, _ = both()
    buckets = webhook["serviceentry_guard_admission_duration_seconds"].buckets
    within = [bound for bound in buckets if 0.0001 <= bound <= 0.05]
    assert (within[0], within[-1]) == (0.0001, 0.05)
    assert all(higher / lower <= 2.5 for lower, higher in pairwise(within))


def test_the_series_of_admission_stay_few_whatever_is_sent() -> None:
    operations, verdicts, stages = 5, 6, 2
    codes = [code for code in CATALOGUE if not code.startswith(OF_POLICIES) and code not in IN_COMPANY]
    assert stages * operations * verdicts * (1 + len(codes)) < 2500
