"""What holds for every entry, every policy and every set of them."""

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy
from app.core.resources.hosts import Host, HostKind, canonical_host, covers
from app.core.resources.records import replace
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import changes, desired, desired_at, keys
from app.core.routes.virtual_service import Emitted
from app.core.rules.catalogue import CATALOGUE
from app.core.rules.patch import apply_patch
from app.core.rules.verdict import as_stored, review, review_update
from tests.builders import indexed
from tests.depth import examples
from tests.strategies import hosts, json_values, manifests, names, policies, wildcards

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123 subdomain, as Kubernetes checks the names of objects."""


def foreign(name: str, host: str, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "team", "uid": name, "resourceVersion": "1"},
        "spec": {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}]}], **spec},
    }


foreigners = st.builds(foreign, st.sampled_from(["x", "api.example.com", "wildcard.example.com"]), hosts)


def stored(emitted: Emitted) -> Observed:
    """The object as the API server gives it back."""
    manifest = json.loads(json.dumps(emitted.manifest))
    manifest["metadata"] |= {"uid": "1", "resourceVersion": "1"}
    return Observed.parse(manifest)


@given(json_values, policies())
def test_any_json_gets_a_verdict(value: Any, policy: GuardPolicy) -> None:
    for manifest in (value, {"metadata": value, "spec": value}, {"spec": {"hosts": value, "ports": value}}):
        entry = ServiceEntry.parse(manifest)
        verdict = review(entry, policy)
        desired([entry], policy)
        Observed.parse(manifest)
        assert set(verdict.codes) <= CATALOGUE.keys()
        assert all(len(warning.encode()) <= 256 for warning in verdict.warnings)


@given(manifests(), policies())
def test_the_patch_is_idempotent_and_touches_nothing_but_the_resolution(
    manifest: dict[str, Any], policy: GuardPolicy
) -> None:
    verdict = review(ServiceEntry.parse(manifest), policy)
    patched = apply_patch(manifest, verdict.patch)
    again = review(ServiceEntry.parse(patched), policy)
    assert again.patch == ()
    assert again.allowed is verdict.allowed
    assert as_stored(again).allowed is verdict.allowed
    rest, original = copy.deepcopy(patched), copy.deepcopy(manifest)
    rest["spec"].pop("resolution", None)
    original["spec"].pop("resolution", None)
    assert rest == original
    assert len(verdict.patch) <= 1


@given(manifests(), policies())
def test_a_verdict_is_either_a_refusal_or_a_patch_and_never_both(manifest: dict[str, Any], policy: GuardPolicy) -> None:
    verdict = review(ServiceEntry.parse(manifest), policy)
    assert verdict.allowed or not verdict.patch
    assert verdict.allowed or verdict.denial
    assert as_stored(verdict).allowed is (verdict.allowed and not verdict.patch)


@given(manifests(), manifests(), policies())
def test_an_update_that_touches_neither_spec_nor_our_annotations_is_never_refused_or_changed(
    manifest: dict[str, Any], other: dict[str, Any], policy: GuardPolicy
) -> None:
    relabelled = copy.deepcopy(manifest)
    relabelled["metadata"] |= {"labels": {"a": "b"}, "finalizers": [], "deletionTimestamp": "2026-01-03T00:00:00Z"}
    relabelled["metadata"]["annotations"]["other.example/x"] = "y"
    untouched = review_update(ServiceEntry.parse(relabelled), manifest, relabelled, policy)
    assert untouched.allowed
    assert untouched.patch == ()
    if other["spec"] != manifest["spec"]:
        entry = ServiceEntry.parse(other)
        assert review_update(entry, manifest, other, policy) == review(entry, policy)


@given(st.lists(manifests(), max_size=5), st.lists(foreigners, max_size=3), policies())
@settings(max_examples=examples(400))
def test_after_the_changes_are_made_there_are_none_left(
    documents: list[dict[str, Any]], others: list[dict[str, Any]], policy: GuardPolicy
) -> None:
    entries = [ServiceEntry.parse(document) for document in documents]
    observed = list({one.key: one for one in map(Observed.parse, others)}.values())
    first = changes(desired(entries, policy, observed), observed)
    assert first.delete == ()
    after = [*observed, *(stored(emitted) for emitted, _ in first.apply)]
    second = changes(desired(entries, policy, after), after)
    assert (second.apply, second.delete) == ((), ())
    assert len(second.foreign) == len(first.foreign)
    gone = changes(desired([], policy, after), after)
    assert {one.key for one in gone.delete} == {emitted.key for emitted, _ in first.apply}
    assert not any(one in observed for one in gone.delete)


@given(st.lists(manifests(), max_size=5, unique_by=lambda one: one["metadata"]["name"]), st.randoms(), policies())
def test_the_order_of_the_input_does_not_matter(
    documents: list[dict[str, Any]], random: Any, policy: GuardPolicy
) -> None:
    entries = [ServiceEntry.parse(document) for document in documents]
    shuffled = random.sample(entries, len(entries))
    assert desired(entries, policy) == desired(shuffled, policy)
    plan = desired(entries, policy)
    observed = [stored(emitted) for emitted in plan.objects[::2]]
    assert changes(plan, observed) == changes(replace(plan, objects=plan.objects[::-1]), observed[::-1])


@given(st.lists(manifests(), max_size=5), policies())
def test_deciding_key_by_key_gives_what_deciding_all_at_once_gives(
    documents: list[dict[str, Any]], policy: GuardPolicy
) -> None:
    entries = [ServiceEntry.parse(document) for document in documents]
    all_keys = {key for entry in entries for key in keys(entry)}
    apart = [
        emitted
        for key in sorted(all_keys, key=str)
        for emitted in desired_at(key, indexed(entries, policy=policy).neighbours(key)).objects
    ]
    assert tuple(apart) == desired(entries, policy).objects


@given(st.lists(st.one_of(names, wildcards, hosts), max_size=30))
def test_names_are_valid_and_never_collide(texts: Sequence[str]) -> None:
    parsed = [Host.parse(text) for text in texts]
    valid = [host for host in parsed if host.kind is not HostKind.INVALID]
    assert all(len(host.object_name) <= 253 and SUBDOMAIN.fullmatch(host.object_name) for host in valid)
    assert len({host.object_name for host in valid}) == len({host.canonical for host in valid})
    assert all(not host.object_name for host in parsed if host.kind is HostKind.INVALID)


@given(st.one_of(hosts, st.text(max_size=300)))
def test_a_host_is_compared_whatever_its_case_and_final_dot(text: str) -> None:
    canonical = canonical_host(text)
    assert covers(canonical, canonical)
    if text.isascii():
        assert canonical_host(text.upper()) == canonical


usual_texts = st.from_regex(r"(wildcard)?[a-z0-9.*-]{1,70}(\.[a-z0-9-]{1,64}){0,4}\.?\n?", fullmatch=True)


@given(st.one_of(hosts, usual_texts, st.text()))
def test_a_usual_host_is_parsed_like_any_other(text: str) -> None:
    assert Host.parse(text) == Host._parse_any(text)
