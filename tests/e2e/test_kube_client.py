"""The client against a real API server: what each call does, and how each failure is told."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.kube import session
from app.kube.client import Client
from app.kube.errors import (
    AlreadyExists,
    Fenced,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    Unreachable,
    WriteConflict,
)
from app.kube.resources import Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.pki import create_authority

pytestmark = pytest.mark.e2e

MAPS = Resource("", "v1", "configmaps", "ConfigMap")
ENTRIES = Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


def config_map(namespace: str, name: str = "one", **data: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.fixture
def calls() -> list[tuple[str, int, float]]:
    return []


@pytest.fixture
def client(control_plane: ControlPlane, calls: list[tuple[str, int, float]]) -> Iterator[Client]:
    client = Client.from_kubeconfig(str(control_plane.kubeconfig), observer=lambda *call: calls.append(call))
    yield client
    client.close()


@pytest.fixture
def paused(spare: ControlPlane) -> Iterator[Client]:
    """A client whose API server is frozen after its first answer."""
    client = Client.from_kubeconfig(str(spare.kubeconfig))
    client.list_page(NAMESPACES)
    spare.pause()
    yield client
    spare.resume()
    client.close()


def kubeconfig(plane: ControlPlane, path: Path, user: dict[str, Any]) -> Path:
    document = yaml.safe_load(plane.kubeconfig.read_text())
    document["users"][0]["user"] = user
    path.write_text(yaml.safe_dump(document))
    return path


def managers(stored: dict[str, Any]) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in stored["metadata"]["managedFields"]}


def test_a_created_object_can_be_read_replaced_patched_and_deleted(client: Client, namespace: str) -> None:
    created = client.create(MAPS, config_map(namespace, key="1"))
    assert client.get(MAPS, namespace, "one") == created
    replaced = client.replace(MAPS, {**created, "data": {"key": "2"}})
    assert replaced["data"] == {"key": "2"}
    patched = client.json_patch(MAPS, namespace, "one", [{"op": "replace", "path": "/data/key", "value": "3"}])
    assert patched["data"] == {"key": "3"}
    client.delete(MAPS, namespace, "one")
    with pytest.raises(NotFound):
        client.get(MAPS, namespace, "one")


def test_apply_creates_and_owns_its_fields_under_our_field_manager(client: Client, namespace: str) -> None:
    spec = {"hosts": ["a.example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    body = {
        "apiVersion": ENTRIES.api_version,
        "kind": ENTRIES.kind,
        "metadata": {"namespace": namespace, "name": "one"},
        "spec": {**spec, "resolution": "DNS"},
    }
    assert managers(client.apply(ENTRIES, body)) == {("serviceentry-guard", "Apply")}
    assert "resolution" not in client.apply(ENTRIES, {**body, "spec": spec})["spec"]


def test_apply_takes_fields_from_another_manager_only_by_force(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("create", "configmap", "one", "-n", namespace, "--from-literal=key=theirs")
    with pytest.raises(WriteConflict, match="kubectl"):
        client.apply(MAPS, config_map(namespace, key="ours"))
    assert client.apply(MAPS, config_map(namespace, key="ours"), force=True)["data"] == {"key": "ours"}


def test_a_taken_name_is_already_exists(client: Client, namespace: str) -> None:
    client.create(MAPS, config_map(namespace))
    with pytest.raises(AlreadyExists, match='configmaps "one" already exists') as caught:
        client.create(MAPS, config_map(namespace))
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


def test_replacing_a_stale_version_is_a_conflict(client: Client, namespace: str) -> None:
    stale = client.create(MAPS, config_map(namespace))
    client.replace(MAPS, {**stale, "data": {"key": "1"}})
    with pytest.raises(WriteConflict):
        client.replace(MAPS, {**stale, "data": {"key": "2"}})


@pytest.mark.parametrize("precondition", [{"uid": "another"}, {"resource_version": "1"}])
def test_an_object_that_is_not_the_one_meant_is_not_deleted(
    client: Client, namespace: str, precondition: dict[str, str]
) -> None:
    client.create(MAPS, config_map(namespace))
    with pytest.raises(WriteConflict):
        client.delete(MAPS, namespace, "one", **precondition)
    client.get(MAPS, namespace, "one")


def test_preconditions_that_hold_let_the_deletion_happen(client: Client, namespace: str) -> None:
    metadata = client.create(MAPS, config_map(namespace))["metadata"]
    client.delete(MAPS, namespace, "one", uid=metadata["uid"], resource_version=metadata["resourceVersion"])
    with pytest.raises(NotFound):
        client.delete(MAPS, namespace, "one")


def test_an_object_that_the_schema_rejects_raises_invalid(client: Client, namespace: str) -> None:
    with pytest.raises(Invalid, match="cannot unmarshal number"):
        client.create(MAPS, {**config_map(namespace), "data": {"key": 1}})
    with pytest.raises(Invalid) as caught:
        client.create(MAPS, config_map(namespace, name="No Name"))
    assert caught.value.status == 422


def test_a_user_without_rights_is_forbidden(control_plane: ControlPlane, namespace: str) -> None:
    client = Client.from_kubeconfig(str(control_plane.user_kubeconfig("nobody")))
    with pytest.raises(Forbidden, match='User "nobody" cannot get resource "configmaps"'):
        client.get(MAPS, namespace, "one")
    client.close()


def test_a_list_comes_in_pages_of_one_version(client: Client, namespace: str) -> None:
    for number in range(5):
        client.create(MAPS, config_map(namespace, name=f"map-{number}"))
    pages = [client.list_page(MAPS, namespace, limit=2)]
    while pages[-1].continue_:
        client.create(MAPS, config_map(namespace, name=f"late-{len(pages)}"))
        pages.append(client.list_page(MAPS, namespace, limit=2, continue_=pages[-1].continue_))
    names = [item["metadata"]["name"] for page in pages for item in page.items]
    assert names == [f"map-{number}" for number in range(5)]
    assert len({page.resource_version for page in pages}) == 1


def test_a_watch_yields_the_events_after_a_version_and_a_bookmark_when_idle(client: Client, namespace: str) -> None:
    version = client.list_page(MAPS, namespace).resource_version
    stream = client.watch(MAPS, version, namespace=namespace, timeout_seconds=4)
    created = client.create(MAPS, config_map(namespace))
    client.delete(MAPS, namespace, "one")
    elsewhere = client.apply(MAPS, config_map("default", name=namespace))["metadata"]["resourceVersion"]
    # The server sends a bookmark two seconds before the end, if its version is newer than the last event's.
    events = list(stream)
    assert [event.type for event in events[:3]] == ["ADDED", "DELETED", "BOOKMARK"]
    assert events[0].object == created
    assert int(events[2].object["metadata"]["resourceVersion"]) >= int(elsewhere)


def test_closing_a_watch_from_another_thread_ends_it_while_it_waits(client: Client, namespace: str) -> None:
    version = client.list_page(MAPS, namespace).resource_version
    stream = client.watch(MAPS, version, namespace=namespace, timeout_seconds=60)
    client.create(MAPS, config_map(namespace))
    began = time.monotonic()
    events = 0
    for _ in stream:
        events += 1
        stream.close()
    assert events == 1
    assert time.monotonic() - began < 50
    stream.close()


def test_the_observer_receives_every_call(client: Client, namespace: str, calls: list[tuple[str, int, float]]) -> None:
    client.create(MAPS, config_map(namespace))
    with pytest.raises(NotFound):
        client.delete(MAPS, namespace, "two")
    assert [(verb, status) for verb, status, _ in calls] == [("create", 201), ("delete", 404)]
    assert all(0 < seconds < 30 for *_, seconds in calls)


def test_a_token_or_version_that_etcd_has_forgotten_is_gone(spare: ControlPlane) -> None:
    client = Client.from_kubeconfig(str(spare.kubeconfig))
    page = client.list_page(NAMESPACES, limit=1)
    client.create(MAPS, config_map("default", name="newer"))
    spare.forget_history()
    with pytest.raises(Gone):
        client.list_page(NAMESPACES, limit=1, continue_=page.continue_)
    with pytest.raises(Gone):
        list(client.watch(NAMESPACES, page.resource_version, timeout_seconds=2))
    client.close()


def test_a_frozen_server_is_unreachable_after_the_time_out(paused: Client) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable):
        paused.get(MAPS, "default", "one", timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 30


def test_a_write_waits_no_longer_than_the_lease_lasts(paused: Client) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable):
        paused.fenced(lambda: 0.3).apply(MAPS, config_map("default"))
    assert 0.3 <= time.monotonic() - began < 30


def test_without_a_lease_nothing_is_written_and_everything_can_be_read(client: Client, namespace: str) -> None:
    fenced = client.fenced(lambda: 0.0)
    created = client.create(MAPS, config_map(namespace))
    writes: list[Callable[[], object]] = [
        lambda: fenced.create(MAPS, config_map(namespace, name="two")),
        lambda: fenced.apply(MAPS, config_map(namespace, key="1"), force=True),
        lambda: fenced.replace(MAPS, {**created, "data": {"key": "1"}}),
        lambda: fenced.json_patch(MAPS, namespace, "one", [{"op": "remove", "path": "/metadata/labels"}]),
        lambda: fenced.delete(MAPS, namespace, "one"),
    ]
    for write in writes:
        with pytest.raises(Fenced):
            write()
    (stored,) = fenced.list_page(MAPS, namespace).items
    assert stored["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_a_lease_that_ends_while_connecting_keeps_the_write_from_happening(
    control_plane: ControlPlane, namespace: str
) -> None:
    client = Client.from_kubeconfig(str(control_plane.kubeconfig))
    answers = iter([5.0, 0.0])
    with pytest.raises(Fenced):
        client.fenced(lambda: next(answers)).create(MAPS, config_map(namespace))
    with pytest.raises(NotFound):
        client.get(MAPS, namespace, "one")
    client.close()


def test_a_token_from_a_file_that_ends_in_a_newline_is_accepted(spare: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good\n")
    path = kubeconfig(spare, tmp_path / "kubeconfig", {"tokenFile": str(tmp_path / "token")})
    assert Client.from_kubeconfig(str(path)).list_page(NAMESPACES).items


def test_after_a_401_the_client_reloads_the_token_and_repeats_the_call(
    spare: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kubeconfig(spare, tmp_path / "kubeconfig", {"token": "bad"})
    client = Client.from_kubeconfig(str(path))
    with pytest.raises(Unauthorized):
        client.list_page(NAMESPACES)
    kubeconfig(spare, path, {"token": "good"})
    monkeypatch.setattr(session, "_REFRESH_SECONDS", 0.0)
    assert client.list_page(NAMESPACES).items
    assert client.create(MAPS, config_map("default", name="repeated"))["metadata"]["uid"]


def test_the_token_of_an_exec_plugin_is_used(spare: ControlPlane, tmp_path: Path) -> None:
    program = tmp_path / "plugin.py"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "good"},
    }
    program.write_text(f"import json; print(json.dumps({credential!r}))")
    plugin = {"apiVersion": credential["apiVersion"], "command": sys.executable, "args": [str(program)]}
    path = kubeconfig(spare, tmp_path / "kubeconfig", {"exec": plugin})
    assert Client.from_kubeconfig(str(path)).list_page(NAMESPACES).items


def test_the_client_uses_the_certificate_of_an_exec_plugin_and_fetches_it_again_after_a_401(
    spare: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "plugin.py"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(program)],
    }

    def hand_out(certificate: bytes, key: bytes) -> None:
        status = {"clientCertificateData": certificate.decode(), "clientKeyData": key.decode()}
        program.write_text(
            f"import json\nstatus = {status!r}\n"
            f"print(json.dumps({{'apiVersion': '{plugin['apiVersion']}', 'kind': 'ExecCredential', 'status': status}}))"
        )

    stranger = create_authority("another").client("admin")  # signed by a CA that the API server does not trust: 401
    hand_out(stranger.certificate, stranger.private_key)
    path = kubeconfig(spare, tmp_path / "kubeconfig", {"exec": plugin})
    client = Client.from_kubeconfig(str(path))
    with pytest.raises(Unauthorized):
        client.list_page(NAMESPACES)
    hand_out((spare.folder / "admin.crt").read_bytes(), (spare.folder / "admin.key").read_bytes())
    monkeypatch.setattr(session, "_REFRESH_SECONDS", 0.0)
    assert client.list_page(NAMESPACES).items
