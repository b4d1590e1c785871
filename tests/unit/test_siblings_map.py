"""The entries that keep their resolution, from the controller to the webhook: a ConfigMap, and the file it becomes."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.controller.inventory import Inventory
from app.controller.judge import Judge
from app.controller.siblings import ATTEMPTS, ROOM, Siblings, document
from app.core.resources import ServiceEntry
from app.core.standing import Stays, parse_standing
from app.policyfile import PolicyFile
from app.webhook.siblings import SiblingsFile
from tests import builders
from tests.builders import HTTP

SSH = {"number": 22, "name": "ssh", "protocol": "TCP"}
STAYS = {("team", "api.example.com"): (Stays("ssh", "NONE", "port 22 (TCP)"),)}


def entry(name: str, port: dict[str, Any] = HTTP, **spec: Any) -> ServiceEntry:
    return builders.entry(name, **{"resolution": "NONE", "ports": [port], **spec})


class Cluster:
    """What the controller observes, in one process."""

    def __init__(self) -> None:
        self.inventory = Inventory()
        self.siblings = Siblings(self.inventory, Judge(), PolicyFile(None, lambda _taken: None))
        self.siblings.recount([])

    def put(self, old: ServiceEntry | None, new: ServiceEntry | None) -> frozenset[str]:
        """Deliver a change; returns the names of the entries to look at again."""
        self.inventory.put_entry(old, new)
        return frozenset(key.name for key in self.siblings.changed(old, new))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "siblings.json"


def test_what_the_controller_writes_the_webhook_reads(path: Path) -> None:
    path.write_text(document(STAYS))
    assert SiblingsFile(path).current == STAYS


def test_the_file_is_followed_as_it_comes_changes_and_goes(path: Path) -> None:
    siblings = SiblingsFile(path)
    assert siblings.current == {}
    path.write_text(document(STAYS))
    siblings.poll()
    assert siblings.current == STAYS
    path.unlink()
    siblings.poll()
    assert siblings.current == {}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"team": []}', b'{"team": {"a.b": [["x"]]}}', b'{"team": {"a.b": 1}}']
)
def test_a_file_that_is_not_valid_changes_nothing_and_is_told(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(document(STAYS))
    siblings = SiblingsFile(path)
    path.write_bytes(content)
    siblings.poll()
    assert siblings.current == STAYS
    assert "is not valid" in caplog.text


def test_without_a_file_no_entry_is_known() -> None:
    assert SiblingsFile(None).current == {}


def test_the_config_map_keeps_to_its_room_and_what_is_left_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    many = {("team", f"{number}.example.com"): (Stays("x" * 200, "NONE", "port 22 (TCP)"),) for number in range(8000)}
    text = document(many)
    assert len(text) <= ROOM
    assert len(parse_standing(json.loads(text))) > 3000
    assert "of 8000 hosts" in caplog.text


def test_an_entry_is_put_back_no_more_often_than_somebody_else_insists(cluster: Cluster) -> None:
    cluster.put(None, entry("ssh", SSH))
    none, dns = entry("web"), entry("web", resolution="DNS")
    cluster.put(None, none)
    for _ in range(ATTEMPTS):
        cluster.put(none, dns)
        assert cluster.siblings.repair(dns) == ({"op": "replace", "path": "/spec/resolution", "value": "NONE"},)
        cluster.siblings.patched(dns)
        cluster.put(dns, none)
        assert cluster.siblings.repair(none) == ()
    cluster.put(none, dns)
    assert cluster.siblings.repair(dns) == ()


def test_another_change_of_an_entry_does_not_keep_it_from_being_put_back(cluster: Cluster) -> None:
    cluster.put(None, entry("ssh", SSH))
    none, dns = entry("web"), entry("web", resolution="DNS")
    cluster.put(None, none)
    cluster.put(none, dns)
    changed = entry("web", {**HTTP, "number": 81}, resolution="DNS")
    cluster.put(dns, changed)
    assert cluster.siblings.repair(changed)[0]["value"] == "NONE"


def test_a_new_entry_is_put_back_to_what_its_sibling_has_unless_its_author_wrote_it(cluster: Cluster) -> None:
    cluster.put(None, entry("ssh", SSH))
    dns = entry("web", resolution="DNS")
    cluster.put(None, dns)
    assert cluster.siblings.repair(dns)
    applied = json.dumps({"spec": {"resolution": "DNS"}})
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    assert cluster.siblings.repair(dns, {"metadata": {"annotations": annotations}}) == ()
    applied = json.dumps({"spec": {}})
    assert cluster.siblings.repair(dns, {"metadata": {"annotations": {**annotations, "x": applied}}}) == ()
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    assert cluster.siblings.repair(dns, {"metadata": {"annotations": annotations}})
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{"}
    assert cluster.siblings.repair(dns, {"metadata": {"annotations": annotations}})


def test_an_entry_is_brought_along_only_once_another_of_its_host_has_the_resolution(cluster: Cluster) -> None:
    first, second = entry("first"), entry("second", {**HTTP, "number": 8080})
    cluster.put(None, first)
    cluster.put(None, second)
    assert cluster.siblings.repair(second) == ()
    assert "second" in cluster.put(first, entry("first", resolution="DNS"))
    assert cluster.siblings.repair(second)[0]["value"] == "DNS"


def test_siblings_of_an_entry_that_goes_are_looked_at_again(cluster: Cluster) -> None:
    ssh = entry("ssh", SSH)
    cluster.put(None, ssh)
    cluster.put(None, entry("web"))
    assert cluster.siblings.standing().keys() == {("team", "api.example.com")}
    assert cluster.put(ssh, None) == {"web"}
    assert cluster.siblings.standing() == {}
