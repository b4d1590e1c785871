"""A ServiceEntry is read at once, or field by field if a value is wrong: both give the same entry."""

import copy
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.resources import service_entry
from app.core.resources.service_entry import ServiceEntry
from tests.strategies import json_values, manifests

ODD: list[Any] = [None, "", "x", "DNS", 0, -1, 80.0, True, 1 << 70, [], [None], ["x"], {}, {"x": None}, {1: "x"}]
STATUS = {"conditions": [{"type": "istio.io/WaypointBound", "status": "True", "message": "x"}]}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in a manifest, each with one of its keys or indices."""
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    for key in keys:
        yield value, key
        yield from places(value[key])


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest with some values that the API server would not take, or seldom sees."""
    # Copies: strategies give the same objects again.
    manifest = copy.deepcopy(draw(manifests()) | draw(st.sampled_from([{}, {"status": STATUS}])))
    manifest["metadata"] |= draw(st.sampled_from([{}, {"deletionTimestamp": "x"}, {"generateName": "x", "name": ""}]))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(list(places(manifest))))
        container[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return manifest


def one_by_one(manifest: Any, written: str | None) -> ServiceEntry:
    with patch.object(service_entry, "_read", service_entry._read_each):
        return ServiceEntry.parse(manifest, "team", written)


@given(st.one_of(damaged(), damaged(), json_values), st.sampled_from([None, "2026-01-01"]))
def test_all_fields_at_once_and_one_by_one_give_the_same_entry(manifest: Any, written: str | None) -> None:
    assert ServiceEntry.parse(manifest, "team", written) == one_by_one(manifest, written)


@given(manifests())
def test_what_the_api_server_stores_is_read_at_once(manifest: dict[str, Any]) -> None:
    with patch.object(service_entry, "_read_each", side_effect=AssertionError):
        assert not ServiceEntry.parse(manifest).problems


@pytest.mark.parametrize("field", ["creationTimestamp", "labels", "annotations", "name"])
def test_null_counts_as_absent_without_a_closer_look(field: str) -> None:
    manifest = {"metadata": {field: None}, "spec": {"hosts": ["api.example.com"], "endpoints": None}}
    with patch.object(service_entry, "_read_each", side_effect=AssertionError):
        assert not ServiceEntry.parse(manifest).problems
