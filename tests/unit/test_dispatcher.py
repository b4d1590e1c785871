"""What a new entry waits for after a start or a change of the policy, and what it does not wait for."""

import ast
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.controller.manager import Manager
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.kube.client import Client
from app.policyfile import PolicyFile
from app.settings import ControllerSettings
from app.telemetry.metrics import ControllerMetrics
from tests.builders import HTTPS, entry, virtual_service
from tests.unit.kube_server import write_kubeconfig

APP = Path(__file__).parents[2] / "app"
NEW = Key("team", "new.example.com")


class Controller:
    """A leader without threads. Its watches deliver what a test gives them."""

    def __init__(self, folder: Path) -> None:
        client = Client.from_kubeconfig(write_kubeconfig(folder / "kubeconfig", "http://127.0.0.1:1", {}))
        self.policy = PolicyFile(None, lambda _taken: None)
        settings = ControllerSettings(leader_elect=False)
        self.manager: Any = Manager(client, settings, self.policy, ControllerMetrics())
        self.manager._leadership.begin()
        self.dispatcher = self.manager._dispatcher
        self.queue = self.manager._workers.queue

    def put(self, *entries: ServiceEntry) -> None:
        """Deliver entries."""
        for one in entries:
            self.manager._entries._change((one.key.namespace, one.key.name), one)

    def sync(self, *entries: ServiceEntry) -> None:
        """Deliver the first list of everything."""
        self.put(*entries)
        for reflector in self.manager._reflectors.values():
            reflector._synced.set()

    def taken(self) -> list[Key]:
        """Take all names that wait."""
        found = list[Key]()
        while key := self.queue.get(0):
            found.append(key)
            self.queue.done(key)
        return found

    @property
    def findings(self) -> dict[tuple[str, ...], int]:
        """The findings as the metric counts them."""
        return dict(self.manager._gauges.findings())


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def new(name: str = "new", **spec: Any) -> ServiceEntry:
    return entry(name, hosts=["new.example.com"], **spec)


def many(count: int) -> Iterable[ServiceEntry]:
    return (entry(f"e{number}", hosts=[f"h{number}.example.com"]) for number in range(count))


def test_a_new_entry_comes_before_the_names_that_a_start_checks(controller: Controller) -> None:
    controller.sync(*many(50))
    controller.put(new())
    assert controller.taken()[0] == NEW


def test_a_new_entry_comes_before_names_whose_objects_are_listed_after_it(controller: Controller) -> None:
    controller.put(*many(5))
    controller.manager._entries._synced.set()
    controller.put(new())
    for number in range(100, 105):
        controller.dispatcher.object_changed(None, None, Observed.parse(virtual_service(f"h{number}.example.com")))
    assert controller.taken()[0] == NEW


def test_a_new_entry_comes_before_the_names_that_a_changed_policy_checks(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.sync(*many(50))
    controller.dispatcher.follow_policy()
    controller.taken()
    monkeypatch.setattr(controller.policy, "poll", lambda: True)
    controller.dispatcher.follow_policy()
    controller.put(new())
    taken = controller.taken()
    assert (taken[0], len(taken)) == (NEW, 51)


def test_a_new_entry_does_not_wait_until_all_entries_were_reviewed_together(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[str]()
    recount = controller.manager._siblings.recount

    def note(entries: Iterable[ServiceEntry]) -> frozenset[Key]:
        looked.append(threading.current_thread().name)
        found: frozenset[Key] = recount(entries)
        return found

    monkeypatch.setattr(controller.manager._siblings, "recount", note)
    controller.sync(*many(5))
    controller.put(new())
    assert looked == []
    assert NEW in controller.taken()
    controller.dispatcher.follow_policy()
    assert looked == [threading.current_thread().name]


def test_an_entry_that_changes_before_or_during_that_review_is_decided_beside_its_siblings(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recount = controller.manager._siblings.recount

    def interrupted(entries: Iterable[ServiceEntry]) -> frozenset[Key]:
        found: frozenset[Key] = recount(entries)
        controller.put(
            new("late", resolution="NONE", ports=[HTTPS])
        )  # the siblings are ready, and an earlier change still waits
        return found

    monkeypatch.setattr(controller.manager._siblings, "recount", interrupted)
    controller.sync(*many(5))
    controller.put(new("early", resolution="NONE"))
    assert ("team", "SEG051") not in controller.findings
    controller.dispatcher.follow_policy()
    assert controller.findings["team", "SEG051"] == 2
    controller.put(new("late", resolution="NONE"))
    assert ("team", "SEG051") not in controller.findings


def test_a_set_never_grows_by_a_view_of_a_dictionary_which_would_copy_the_whole_set_each_time() -> None:
    """`found |= other.keys()` is such a copy in CPython: the operator of the view makes a new set."""
    copies = [
        f"{path.relative_to(APP)}:{node.lineno}"
        for path in APP.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AugAssign) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Attribute) and node.value.func.attr in {"keys", "items"}
    ]
    assert copies == []
