"""Faults of etcd: it ends, is full, or is restored to an earlier state, so that resource versions go back."""

import json
import shutil
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from app.kube.errors import ApiError
from app.kube.resources import CONFIG_MAPS
from tests.bed.etcd import DATA
from tests.bed.processes import wait_until
from tests.chaos.faults import Scene, fault

ETCD = "etcd"
MEGABYTE = 1_000_000
SPARE = 4 * MEGABYTE
"""What is left in an etcd that is about to be full."""


@fault(ETCD, "kill -9, and started again", seconds=2.0, quick=True)
def killed(scene: Scene) -> Iterator[None]:
    etcd = scene.arena.plane.etcd
    etcd.child.kill()
    yield
    etcd.start()


@fault(ETCD, "frozen for 5 s (SIGSTOP)", seconds=5.0)
def frozen(scene: Scene) -> Iterator[None]:
    scene.arena.plane.etcd.child.pause()
    yield
    scene.arena.plane.etcd.child.resume()


@fault(ETCD, "out of space", seconds=10.0)
def full(scene: Scene) -> Iterator[None]:
    etcd = scene.arena.plane.etcd
    flag = f"--quota-backend-bytes={_size(scene) + SPARE}"
    restart(scene, flag)
    names = list(_fill(scene))
    yield
    etcd.child.command.remove(flag)
    restart(scene)
    for alarm in _post(scene, "/v3/maintenance/alarm", {"action": "GET"})["alarms"]:
        _post(scene, "/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
    for name in names:
        scene.arena.client.delete(CONFIG_MAPS, "default", name)


@fault(ETCD, "restored from a snapshot that is half a minute old", seconds=2.0)
def restored(scene: Scene) -> Iterator[None]:
    plane = scene.arena.plane
    data, snapshot = plane.folder / DATA, scene.arena.folder / f"snapshot-{time.monotonic_ns()}"
    with scene.stream.resting():
        plane.etcd.child.pause()
        shutil.copytree(data, snapshot)
        plane.etcd.child.resume()
        remembered = scene.stream.ledger.copy()
    time.sleep(30.0)
    with scene.stream.resting():
        plane.apiserver.child.kill()
        plane.etcd.child.kill()
        shutil.rmtree(data)
        shutil.move(snapshot, data)
        plane.etcd.start()
        plane.apiserver.start()
        scene.stream.ledger.possible = remembered.possible
    yield


def restart(scene: Scene, *flags: str) -> None:
    """Start etcd again on its data, with further flags."""
    etcd = scene.arena.plane.etcd
    etcd.child.kill()
    etcd.child.command += flags
    etcd.start()


def _fill(scene: Scene) -> Iterator[str]:
    """Store ConfigMaps until there is no space left."""
    for number in range(100):
        name = f"filler-{number}"
        metadata = {"namespace": "default", "name": name}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": "x" * (MEGABYTE // 2)}}
        try:
            scene.arena.client.create(CONFIG_MAPS, body)
        except ApiError as error:
            if "space" in error.message:
                return
            wait_until(lambda: _reachable(scene), "the API server reaches etcd", 30)
            continue
        yield name
    raise RuntimeError("etcd takes more than its quota")


def _reachable(scene: Scene) -> bool:
    try:
        scene.arena.client.list_page(CONFIG_MAPS, "default", limit=1)
    except ApiError:
        return False
    return True


def _size(scene: Scene) -> int:
    return int(_post(scene, "/v3/maintenance/status", {})["dbSize"])


def _post(scene: Scene, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One call of etcd's JSON gateway."""
    connection = HTTPConnection(urlsplit(scene.arena.plane.etcd.url).netloc, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body))
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer
