"""What the controllers share of reading and writing objects, against a server that answers as it is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.kube.apply import OUR_OBJECTS, apply_exactly, apply_over, delete_seen, is_ours, list_all, locked
from app.kube.client import Client
from app.kube.errors import WriteConflict
from app.kube.resources import NO_VERSION, Resource
from tests.unit.kube_server import Server, json_answer, running

POLICIES = Resource("policy.example", "v1", "policies", "Policy")
WANTED = {
    "apiVersion": "policy.example/v1",
    "kind": "Policy",
    "metadata": {"namespace": "team", "name": "one"},
    "spec": {"mode": "Enforce"},
}
CONFLICT = {"kind": "Status", "code": 409, "reason": "WriteConflict", "message": "the object has been modified"}


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    client = Client.from_kubeconfig(server.kubeconfig(tmp_path / "kubeconfig", {"token": "secret"}), timeout=20)
    yield client
    client.close()


def stored(version: str, **spec: Any) -> dict[str, Any]:
    return {**WANTED, "metadata": {**WANTED["metadata"], "resourceVersion": version}, "spec": spec}  # type: ignore[dict-item]


def sent(server: Server) -> list[Any]:
    return [msgspec.json.decode(request.body) for request in server.seen]


def test_a_list_goes_on_to_its_last_page(client: Client, server: Server) -> None:
    first = {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
    server.answers = [json_answer(first), json_answer({"metadata": {}, "items": [{"metadata": {"name": "b"}}]})]
    found = list_all(client, POLICIES, "team", label_selector=OUR_OBJECTS)
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]
    assert [("continue=next" in request.path, "labelSelector=" in request.path) for request in server.seen] == [
        (False, True),
        (True, True),
    ]


@pytest.mark.parametrize(("seen", "version"), [("7", "7"), (None, NO_VERSION)])
def test_an_object_is_applied_over_the_version_that_was_seen(
    client: Client, server: Server, seen: str | None, version: str
) -> None:
    server.answers = [json_answer(stored("8", mode="Enforce"))]
    assert apply_over(client, POLICIES, WANTED, seen)["metadata"]["resourceVersion"] == "8"
    (body,) = sent(server)
    assert body == {**WANTED, "metadata": {"namespace": "team", "name": "one", "resourceVersion": version}}


def test_an_object_that_is_stored_as_wanted_is_written_once(client: Client, server: Server) -> None:
    server.answers = [json_answer(stored("8", mode="Enforce"))]
    assert apply_exactly(client, POLICIES, WANTED, "7") == stored("8", mode="Enforce")
    assert [request.method for request in server.seen] == ["PATCH"]


def test_a_field_that_another_client_added_is_removed(client: Client, server: Server) -> None:
    server.answers = [json_answer(stored("8", mode="Enforce", added=1)), json_answer(stored("9", mode="Enforce"))]
    assert apply_exactly(client, POLICIES, WANTED, "7") == stored("9", mode="Enforce")
    assert sent(server)[1] == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "8"},
        {"op": "replace", "path": "/spec", "value": {"mode": "Enforce"}},
    ]


def test_a_write_between_apply_and_reset_is_a_conflict(client: Client, server: Server) -> None:
    """With `op: test` the API server answered 422: the namespace was taken for one that refuses all writes."""
    server.answers = [json_answer(stored("8", added=1)), json_answer(CONFLICT, 409)]
    with pytest.raises(WriteConflict):
        apply_exactly(client, POLICIES, WANTED, "7")
    assert sent(server)[1][0]["op"] == "replace"


def test_a_locked_patch_names_the_version_first() -> None:
    patch = locked(stored("8"), [{"op": "remove", "path": "/spec/mode"}])
    assert [operation["path"] for operation in patch] == ["/metadata/resourceVersion", "/spec/mode"]


@pytest.mark.parametrize(("status", "deleted"), [(200, True), (404, False)])
def test_an_object_is_deleted_in_the_version_seen_and_a_missing_one_is_not_an_error(
    client: Client, server: Server, status: int, deleted: bool
) -> None:
    server.answers = [json_answer({"kind": "Status", "code": status, "reason": "NotFound", "message": "gone"}, status)]
    assert delete_seen(client, POLICIES, "team", "one", uid="u", version="8") is deleted
    (body,) = sent(server)
    assert body["preconditions"] == {"uid": "u", "resourceVersion": "8"}


@pytest.mark.parametrize(
    ("labels", "ours"),
    [({"app.kubernetes.io/managed-by": "serviceentry-guard"}, True), ({"app": "other"}, False), (None, False)],
)
def test_an_object_with_our_label_is_ours(labels: dict[str, str] | None, ours: bool) -> None:
    assert is_ours({"metadata": {"labels": labels}}) is ours
