"""How findings are counted: whatever comes, goes, changes or is judged anew, the gauge shows what there is."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from app.core.policy import GuardPolicy
from app.core.resources import Key, ServiceEntry
from app.core.verdict import review
from app.tally import Tally
from tests.strategies import manifests, policies


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "put", "delete", "policy"]), manifests(), policies()), min_size=1, max_size=6
    )
)
def test_the_gauge_shows_the_findings_on_the_entries_that_are_there_under_the_policy_in_force(
    steps: list[tuple[str, dict[str, Any], GuardPolicy]],
) -> None:
    registry = CollectorRegistry()
    in_force = [steps[0][2]]
    tally = Tally(
        Gauge("findings", "Findings.", ("namespace", "code"), registry=registry),
        lambda entry: review(entry, in_force[0]).codes,
    )
    there: dict[Key, ServiceEntry] = {}
    for what, manifest, policy in steps:
        entry = ServiceEntry.parse(manifest)
        key = Key(entry.key.namespace, entry.key.name[:1])
        if what == "policy":
            in_force[0] = policy
            tally.recount()
        elif what == "delete":
            there.pop(key, None)
            tally.put(key, None)
        else:
            there[key] = entry
            tally.put(key, entry)
    expected = Counter(
        (key.namespace, code) for key, entry in there.items() for code in review(entry, in_force[0]).codes
    )
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    shown = {(sample.labels["namespace"], sample.labels["code"]): sample.value for sample in samples if sample.value}
    assert shown == dict(expected)
