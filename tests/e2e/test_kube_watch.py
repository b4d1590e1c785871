"""The reflector against a real API server that is cut off, restarted, frozen and made to forget."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any

import pytest

from app.kube import client as client_module
from app.kube import watch
from app.kube.client import Client
from app.kube.resources import Resource
from app.kube.watch import ObjectKey, Reflector
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.e2e.forwarder import Forwarder

pytestmark = pytest.mark.e2e

MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NUMBERS = count(1)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


def data(item: dict[str, Any]) -> str:
    """What is kept of a ConfigMap: a value (never None), as the reflector asks of a transform."""
    return str((item.get("data") or {}).get("key", ""))


def named(reflector: Reflector[str]) -> dict[str, str]:
    return {name: value for (_, name), value in list(reflector.store.items())}


class Cluster:
    """One namespace of ConfigMaps, written directly."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.client = Client.from_kubeconfig(str(plane.kubeconfig))

    def put(self, **values: str) -> None:
        for name, value in values.items():
            metadata = {"namespace": self.namespace, "name": name}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}}
            self.client.apply(MAPS, body, force=True)

    def delete(self, *names: str) -> None:
        for name in names:
            self.client.delete(MAPS, self.namespace, name)


class Follower:
    """A reflector with a record of what it said and of the calls it made."""

    def __init__(self, kubeconfig: object, namespace: str, transform: Callable[[dict[str, Any]], str] = data) -> None:
        self.changes: list[tuple[str, str | None, str | None]] = []
        self.calls: list[tuple[str, int]] = []
        self.client = Client.from_kubeconfig(
            str(kubeconfig), observer=lambda verb, status, _: self.calls.append((verb, status))
        )
        self.restarts: list[str] = []
        self.reflector = Reflector(
            self.client,
            MAPS,
            transform,
            self.on_change,
            namespace=namespace,
            watch_seconds=(20, 30),
            on_restart=self.restarts.append,
        )

    def on_change(self, key: ObjectKey, old: str | None, new: str | None) -> None:
        assert self.reflector.store.get(key) == new, "the store is changed before the callback"
        self.changes.append((key[1], old, new))

    def start(self) -> "Follower":
        self.reflector.start()
        assert self.reflector.wait_synced(20)
        return self

    def sees(self, **values: str) -> None:
        wait_until(lambda: named(self.reflector) == values, f"the store holds {values}", 40)

    def lists(self) -> int:
        return sum(verb == "list" and status == 200 for verb, status in self.calls)

    def stop(self) -> None:
        self.reflector.stop()
        self.client.close()


@pytest.fixture
def cluster(spare: ControlPlane) -> Cluster:
    name = f"reflector-{next(NUMBERS)}"
    spare.kubectl("create", "namespace", name)
    return Cluster(spare, name)


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    followers: list[Follower] = []

    def follow(*arguments: Any) -> Follower:
        followers.append(Follower(*arguments))
        return followers[-1]

    yield follow
    for follower in followers:
        follower.stop()


Follow = Callable[..., Follower]


def test_the_callback_gets_existing_objects_and_changes_once_and_in_order(cluster: Cluster, follow: Follow) -> None:
    cluster.put(a="1")
    follower = follow(cluster.plane.kubeconfig, cluster.namespace).start()
    assert follower.changes == [("a", None, "1")]
    cluster.put(b="1")
    cluster.put(b="2")
    cluster.delete("a")
    follower.sees(b="2")
    assert follower.changes[1:] == [("b", None, "1"), ("b", "1", "2"), ("a", "1", None)]


def test_a_change_outside_of_the_kept_fields_makes_no_callback(cluster: Cluster, follow: Follow) -> None:
    cluster.put(a="1")
    follower = follow(cluster.plane.kubeconfig, cluster.namespace).start()
    label = {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
    cluster.client.json_patch(MAPS, cluster.namespace, "a", [label])
    cluster.put(z="1")
    follower.sees(a="1", z="1")
    assert follower.changes == [("a", None, "1"), ("z", None, "1")]


def test_cluster_scoped_objects_have_no_namespace_in_their_key(spare: ControlPlane) -> None:
    client = Client.from_kubeconfig(str(spare.kubeconfig))
    reflector = Reflector(client, NAMESPACES, lambda item: str(item["metadata"]["uid"]), lambda *_: None)
    reflector.start()
    assert reflector.wait_synced(20)
    assert ("", "default") in reflector.store
    reflector.stop()


def test_changes_during_a_disconnect_reach_the_callback_on_reconnect_including_deletes(
    cluster: Cluster, forwarder: Forwarder, follow: Follow
) -> None:
    cluster.put(same="1", changed="1", gone="1")
    follower = follow(forwarder.kubeconfig(cluster.plane.kubeconfig), cluster.namespace).start()
    told = len(follower.changes)
    with forwarder.cut():
        cluster.put(changed="2", new="1")
        cluster.delete("gone")
    follower.sees(same="1", changed="2", new="1")
    assert set(follower.changes[told:]) == {("changed", "1", "2"), ("new", None, "1"), ("gone", "1", None)}
    assert follower.lists() == 2, "the history is still there: one object was asked for, and nothing listed again"


def test_after_410_expired_the_reflector_lists_again_and_calls_back_for_changes_only(
    cluster: Cluster, forwarder: Forwarder, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, watch.__name__)
    cluster.put(same="1", changed="1", gone="1")
    follower = follow(forwarder.kubeconfig(cluster.plane.kubeconfig), cluster.namespace).start()
    told = len(follower.changes)
    with forwarder.cut():
        cluster.put(changed="2", new="1")
        cluster.delete("gone")
        cluster.plane.forget_history()
    follower.sees(same="1", changed="2", new="1")
    assert set(follower.changes[told:]) == {("changed", "1", "2"), ("new", None, "1"), ("gone", "1", None)}
    assert follower.lists() == 3, "one object was asked for before the watch, and all after it"
    assert "410 Expired" in caplog.text
    cluster.put(after="1")
    follower.sees(same="1", changed="2", new="1", after="1")


def test_the_list_starts_again_after_its_continue_token_expired(
    cluster: Cluster, follow: Follow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "_PAGE", 2)
    caplog.set_level(logging.INFO, watch.__name__)
    cluster.put(a="1", b="1", c="1")
    first_page, forgotten = Event(), Event()

    def transform(item: dict[str, Any]) -> str:
        first_page.set()
        forgotten.wait(60)
        return data(item)

    follower = follow(cluster.plane.kubeconfig, cluster.namespace, transform)
    follower.reflector.start()
    assert first_page.wait(20)
    cluster.delete("a")
    cluster.plane.forget_history()
    forgotten.set()
    assert follower.reflector.wait_synced(20)
    assert named(follower.reflector) == {"b": "1", "c": "1"}
    assert ("a", "1", None) in follower.changes
    assert "410 Expired" in caplog.text


def test_an_api_server_that_restarts_is_followed_again(cluster: Cluster, follow: Follow) -> None:
    follower = follow(cluster.plane.kubeconfig, cluster.namespace).start()
    cluster.put(before="1")
    follower.sees(before="1")
    cluster.plane.restart_apiserver()
    cluster.put(after="1")
    follower.sees(before="1", after="1")
    assert follower.reflector.has_synced


def test_a_frozen_api_server_makes_the_copy_age_until_it_goes_on(
    cluster: Cluster, follow: Follow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SILENCE_SECONDS", 0.5)
    follower = follow(cluster.plane.kubeconfig, cluster.namespace)
    follower.reflector._watch_seconds = (1, 1)
    follower.start()
    cluster.put(a="1")
    follower.sees(a="1")
    cluster.plane.pause()
    try:
        wait_until(lambda: follower.reflector.age > 2.5, "the copy is 2.5 s old")
    finally:
        cluster.plane.resume()
    assert "did not answer" in caplog.text or "the watch connection broke" in caplog.text
    cluster.put(b="1")
    follower.sees(a="1", b="1")
    wait_until(lambda: follower.reflector.age < 2.5, "the copy is new again")


def test_a_half_open_connection_is_given_up_after_the_read_time_out(
    cluster: Cluster, forwarder: Forwarder, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SILENCE_SECONDS", 0.5)
    follower = follow(forwarder.kubeconfig(cluster.plane.kubeconfig), cluster.namespace)
    follower.reflector._watch_seconds = (1, 1)
    follower.start()
    wait_until(lambda: ("watch", 200) in follower.calls, "it watches")
    with forwarder.silent():
        cluster.put(a="1")
        wait_until(lambda: "failed" in follower.restarts, "the watch fails")
    follower.sees(a="1")


def test_stop_ends_an_idle_watch_at_once_and_makes_no_callback_after_it(cluster: Cluster, follow: Follow) -> None:
    follower = follow(cluster.plane.kubeconfig, cluster.namespace).start()
    wait_until(lambda: ("watch", 200) in follower.calls, "it watches")
    began = time.monotonic()
    follower.reflector.stop()
    assert time.monotonic() - began < 20
    assert not follower.reflector._thread.is_alive()
    cluster.put(a="1")
    assert follower.changes == []


def test_stopping_takes_a_second_at_most_while_the_api_server_is_frozen(cluster: Cluster, follow: Follow) -> None:
    follower = follow(cluster.plane.kubeconfig, cluster.namespace)
    cluster.plane.pause()
    try:
        follower.reflector.start()
        began = time.monotonic()
        follower.reflector.stop()
        assert time.monotonic() - began < 20
    finally:
        cluster.plane.resume()
    follower.reflector._thread.join(60)
    assert not follower.reflector._thread.is_alive()
    assert not follower.reflector.has_synced


def test_many_objects_come_in_pages_of_five_hundred(cluster: Cluster, follow: Follow) -> None:
    def create(number: int) -> None:
        metadata = {"namespace": cluster.namespace, "name": f"map-{number}"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": str(number)}}
        cluster.client.create(MAPS, body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(1001)))
    follower = follow(cluster.plane.kubeconfig, cluster.namespace).start()
    assert named(follower.reflector) == {f"map-{number}": str(number) for number in range(1001)}
    assert follower.lists() == 3
    assert len(follower.changes) == 1001
