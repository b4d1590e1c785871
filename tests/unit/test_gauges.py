"""How findings are counted: whatever comes, goes, changes or is judged anew, the counts are those of what there is."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.controller.gauges import CLAIMANTS, OTHERS, Conflicts, Tally
from app.core.policy.model import GuardPolicy, default_policy
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import Conflict, desired
from app.core.rules.verdict import review
from tests.builders import entry, guard_policy
from tests.strategies import manifests, policies


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "put", "delete", "policy"]), manifests(), policies()), min_size=1, max_size=6
    )
)
def test_the_counts_are_those_of_the_entries_that_are_there_under_the_policy_in_force(
    steps: list[tuple[str, dict[str, Any], GuardPolicy]],
) -> None:
    in_force = [steps[0][2]]
    tally = Tally(lambda entry: review(entry, in_force[0]))
    there: dict[Key, ServiceEntry] = {}
    for what, manifest, policy in steps:
        entry = ServiceEntry.parse(manifest)
        key = Key(entry.key.namespace, entry.key.name[:1])
        if what == "policy":
            in_force[0] = policy
            tally.reconsider()
        elif what == "delete":
            there.pop(key, None)
            tally.put(key, None)
        else:
            there[key] = entry
            tally.put(key, entry)
    verdicts = [(key.namespace, review(entry, in_force[0])) for key, entry in there.items()]
    # Compared as dicts: a namespace whose count fell to zero must be gone, not 0.
    assert dict(tally.findings()) == dict(Counter((team, code) for team, verdict in verdicts for code in verdict.codes))
    assert dict(tally.unfixable()) == dict(Counter((team,) for team, verdict in verdicts if verdict.unfixable))


def conflict(name: str, claimant: str) -> Conflict:
    """Make a conflict over api.example.com between an entry and a VirtualService of this name."""
    spec = {"hosts": ["api.example.com"], "ports": [{"number": 80, "protocol": "HTTP"}], "resolution": "DNS"}
    metadata = {"name": name, "namespace": "team", "uid": name}
    entry = ServiceEntry.parse({"metadata": metadata, "spec": spec})
    (emitted,) = desired([entry], default_policy()).objects
    return Conflict(emitted, Observed.parse({"kind": "VirtualService", "metadata": {"name": claimant}}))


def test_a_conflict_is_new_once_until_it_is_another_one() -> None:
    conflicts, key = Conflicts(), Key("team", "api.example.com")
    first, other = conflict("one", "theirs"), conflict("one", "mine")
    assert conflicts.put(key, [first]) == (first,)
    assert conflicts.put(key, [first]) == ()
    assert conflicts.put(key, [first, other]) == (other,)
    assert conflicts.counts() == {("team",): 2}
    assert conflicts.put(key, []) == ()
    assert conflicts.counts() == {}
    assert conflicts.put(key, [first]) == (first,)
    assert conflicts.put(key, [conflict("two", "theirs")]) != (), "the same of another entry is another one"


def claim(host: int, claimant: str) -> tuple[Key, Conflict]:
    """A conflict about a host of namespace team; the claimant is written as namespace/name."""
    namespace, _, name = claimant.partition("/")
    one = entry(f"e{host}", hosts=[f"h{host}.example.com"])
    (emitted,) = desired([one], default_policy()).objects
    metadata = {"name": name, "namespace": namespace}
    claims = {"hosts": ["*.example.com"], "http": [{}]}
    return emitted.key, Conflict(
        emitted, Observed.parse({"kind": "VirtualService", "metadata": metadata, "spec": claims})
    )


def test_a_claimant_of_another_namespace_is_named_and_one_of_the_same_namespace_is_not() -> None:
    conflicts = Conflicts()
    for host, claimant in enumerate(("greedy/all", "greedy/all", "egress/through", "team/own")):
        key, found = claim(host, claimant)
        conflicts.put(key, [found])
    assert conflicts.claims() == {
        ("team", "VirtualService greedy/all"): 2,
        ("team", "VirtualService egress/through"): 1,
    }
    conflicts.put(Key("team", "h0.example.com"), [])
    assert conflicts.claims()["team", "VirtualService greedy/all"] == 1


def test_a_namespace_that_claims_a_host_by_very_many_objects_makes_no_more_series() -> None:
    conflicts = Conflicts()
    for host in range(CLAIMANTS + 5):
        key, found = claim(host, f"greedy/{host:02}")
        conflicts.put(key, [found])
    claims = conflicts.claims()
    assert len(claims) == CLAIMANTS + 1
    assert claims["team", OTHERS] == 5


def test_of_each_namespace_the_exemption_that_ends_first_is_shown_with_the_end_of_its_last_day() -> None:
    policy = guard_policy(existing="Report").on("2027-03-20")
    tally = Tally(lambda entry: review(entry, policy))
    for namespace, name, until in (
        ("team", "soon", "2027-03-31"),
        ("team", "late", "2027-12-31"),
        ("other", "over", "2027-03-01"),
        ("third", "never", None),
    ):
        annotations = {"exempt": "the vendor pins its addresses"} | ({"exempt-until": until} if until else {})
        one = entry(name, namespace, created="2027-01-01T00:00:00Z", annotations=annotations)
        tally.put(one.key, one)
    april, second = 1_806_537_600, 1_803_945_600
    assert tally.expiries() == {("team",): april, ("other",): second}
    tally.put(Key("team", "soon"), None)
    tally.put(Key("other", "over"), entry("over", "other"))
    assert tally.expiries() == {("team",): april + 275 * 86_400}
    assert tally.findings() == {("team", "SEG002"): 1, ("third", "SEG002"): 1}
