"""What is looked for in any document: nothing that is written there ends the review."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.resources.fields import JSON
from app.core.resources.kinds import is_service_entry
from app.manifests.embedded import embedded, mention
from app.manifests.kustomize import patches
from app.manifests.lists import members
from app.manifests.obstacles import enclosed, obstacle
from tests.strategies import json_values, manifests

odd = json_values | st.sampled_from(["ServiceEntry", "List", "Template", "${X}", "networking.istio.io/v1", ""])
fields = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "items",
        "objects",
        "patches",
        "patchesStrategicMerge",
        "target",
        "patch",
    ]
)
objects = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=6), max_leaves=12
)


@given(objects)
def test_any_document_is_looked_at_without_an_error(value: JSON) -> None:
    list(patches(value))
    list(embedded(value))
    for one in members(value) or [value]:
        obstacle(one, listed=True)
        enclosed(one)


@given(manifests())
def test_an_entry_as_istio_takes_it_is_always_reviewed(manifest: dict[str, Any]) -> None:
    assert obstacle(manifest) is None
    assert enclosed(manifest) is None


@given(manifests(), st.lists(st.sampled_from(["a", "b-c", "d.e"]) | st.just(0), max_size=4))
def test_an_entry_is_found_wherever_it_stands_in_another_object(
    manifest: dict[str, Any], keys: list[str | int]
) -> None:
    path = ""
    value: JSON = manifest
    for key in keys:
        value = [value] if key == 0 else {key: value}
    for key in reversed(keys):
        path += f"[{key}]" if key == 0 else f'["{key}"]' if "." in str(key) else f".{key}"
    assert list(embedded(value)) == [path.removeprefix(".")]
    assert (enclosed(value) is None) == (is_service_entry(value) or not isinstance(value, dict))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("kind: ServiceEntry", 0),
        ("- kind:  'ServiceEntry' # x", 2),
        ('{"kind":"ServiceEntryList"}', 2),
        ("{{ if x }}\n  kind : ServiceEntry", 13),
        ("kind: ServiceEntries", None),
        ("mankind: ServiceEntry", None),
        ("a ServiceEntry", None),
    ],
)
def test_a_text_mentions_an_entry_where_it_gives_something_that_kind(text: str, place: int | None) -> None:
    assert mention(text) == place
