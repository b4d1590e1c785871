"""The upkeep of the backstop where an API server does what a sound one does not, or does late: see tests/e2e too."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.controller.admission_policies import LONG, LOOK_SECONDS, Backstop, backstop_task
from app.controller.leadership import Leadership
from app.core.cel.admission_policy import Engine
from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import parse_policy
from app.core.rules.kept_resolutions import Standing, Stays
from app.kube.client import Client, Object
from app.kube.errors import Forbidden, NotFound
from app.kube.resources import Resource
from app.telemetry.metrics import BackstopMetrics
from tests.bed.processes import wait_until

WARN = parse_policy({"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "mode": "Warn"})
REPAIR = [(f"MutatingAdmissionPolicy{part}", "serviceentry-guard-repair") for part in ("", "Binding")]
REFUSE = [(f"ValidatingAdmissionPolicy{part}", "serviceentry-guard-refuse") for part in ("", "Binding")]


class Objects(Client):
    """Stores what is applied, with the fields that others have in it and that it fills itself."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Object] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.filled: Object = {}
        self.added: Object = {}
        self.unknown: set[str] = set()
        self.forbidden = False
        self._versions = count(2)

    def get(self, resource: Resource, namespace: str | None, name: str, *, timeout: float | None = None) -> Object:
        assert (namespace, timeout) == (None, None)
        if self.forbidden:
            raise Forbidden(403, "Forbidden", "you cannot")
        if (resource.kind, name) not in self.stored:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.stored[resource.kind, name])

    def apply(self, resource: Resource, body: Object, *, force: bool = False) -> Object:
        assert force
        if resource.kind in self.unknown:
            raise NotFound(404, "NotFound", "the server could not find the requested resource")
        place = resource.kind, body["metadata"]["name"]
        seen = self.stored[place]["metadata"]["resourceVersion"] if place in self.stored else "1"
        assert body["metadata"]["resourceVersion"] == seen
        return self._store("apply", place, body, self.added)

    def json_patch(self, resource: Resource, namespace: str | None, name: str, patch: Sequence[Object]) -> Object:
        assert namespace is None
        stored = copy.deepcopy(self.stored[resource.kind, name])
        lock, reset = patch
        assert lock["value"] == stored["metadata"]["resourceVersion"]
        assert reset["path"] == "/spec"
        return self._store("patch", (resource.kind, name), {**stored, "spec": reset["value"]}, {})

    def delete(self, resource: Resource, namespace: str | None, name: str, **preconditions: str | None) -> None:
        assert namespace is None
        assert preconditions == {"uid": "1"}
        self.writes.append(("delete", resource.kind, name))
        del self.stored[resource.kind, name]

    def _store(self, verb: str, place: tuple[str, str], body: Object, more: Object) -> Object:
        self.writes.append((verb, *place))
        metadata = {**body["metadata"], "uid": "1", "resourceVersion": str(next(self._versions))}
        self.stored[place] = {**body, "metadata": metadata, "spec": {**body["spec"], **self.filled, **more}}
        return copy.deepcopy(self.stored[place])


@dataclass
class World:
    """The objects, the policy in force, and the time in seconds."""

    objects: Objects = field(default_factory=Objects)
    current: GuardPolicy = field(default_factory=default_policy)
    seconds: float = 0.0
    metrics: BackstopMetrics = field(default_factory=lambda: BackstopMetrics(CollectorRegistry()))
    stays: Standing = field(default_factory=dict)
    ready: bool = True
    version: int = 0

    def standing(self) -> Standing:
        return self.stays

    def backstop(self, engine: Engine | None) -> Backstop:
        policy: Any = self
        return Backstop(self.objects, policy, engine, self.metrics, self, clock=lambda: self.seconds)

    def written(self) -> list[tuple[str, str]]:
        """What was written since this was asked last."""
        writes = [(kind, name) for _, kind, name in self.objects.writes]
        self.objects.writes.clear()
        return writes


def test_the_mutating_policy_is_in_force_before_the_validating_policy_is_written() -> None:
    there = World()
    kept = there.backstop(Engine.NATIVE)
    kept.check()
    assert there.written() == REPAIR
    there.seconds = 2.9
    assert kept.check() == LOOK_SECONDS
    assert there.written() == []
    there.seconds = 3.0
    kept.check()
    assert there.written() == REFUSE


def test_another_policy_is_seen_at_the_next_look_and_what_refuses_goes_first() -> None:
    there = World()
    kept = there.backstop(Engine.VALIDATING)
    kept.check()
    assert there.written() == REFUSE
    there.current = WARN
    kept.check()
    binding_first = REFUSE[::-1]
    assert there.written()[:2] == binding_first
    assert [name for _, name in there.objects.stored] == ["serviceentry-guard-warn"] * 2


STAYS = {("team", "api.example.com"): (Stays("ssh", "NONE", "port 22 (TCP)"),)}


def test_entries_that_keep_their_resolution_are_written_into_what_repairs_as_they_come_and_go() -> None:
    there = World(ready=False)
    kept = there.backstop(Engine.NATIVE)
    assert kept.check() == LOOK_SECONDS
    assert there.written() == [], "which they are is not known yet"
    there.ready = True
    for there.seconds in (0.0, 3.0):
        kept.check()
    assert there.written() == REPAIR + REFUSE
    for there.version, there.stays in ((1, STAYS), (2, {})):
        kept.check()
        assert there.written() == [REPAIR[0], REFUSE[0]]
        assert ("ssh" in str(there.objects.stored[REPAIR[0]]["spec"])) is bool(there.stays)


def test_an_engine_that_only_refuses_needs_none_of_them() -> None:
    there = World(ready=False, stays=STAYS)
    kept = there.backstop(Engine.VALIDATING)
    kept.check()
    assert there.written() == REFUSE
    there.version = 1
    kept.check()
    assert there.written() == []


def test_the_policy_with_a_temporary_exemption_is_written_again_once_after_its_last_day() -> None:
    document = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
    dated = parse_policy({**document, "exemptions": {"temporary": [{"hosts": ["a.example"], "until": "2027-03-31"}]}})
    there = World(current=dated.on("2027-03-31"))
    kept = there.backstop(Engine.VALIDATING)
    kept.check()
    there.written()
    there.current = dated.on("2027-04-01")
    kept.check()
    assert there.written() == REFUSE[:1]
    there.current = dated.on("2027-04-02")
    kept.check()
    assert there.written() == []


def test_fields_that_others_added_are_removed_and_those_that_the_api_server_fills_are_left() -> None:
    there = World()
    there.objects.filled, there.objects.added = {"newer": "default"}, {"added": "by hand"}
    kept = there.backstop(Engine.VALIDATING)
    kept.check()
    assert all("added" not in one["spec"] for one in there.objects.stored.values())
    there.written()
    there.seconds = 5.0
    kept.check()
    assert there.written() == []
    there.objects.stored[REFUSE[0]]["spec"]["newer"] = "by hand"
    there.seconds = 10.0
    kept.check()
    assert there.written() == [REFUSE[0], REFUSE[0]]  # applied, and reset


def test_an_api_server_without_mutating_policies_gets_no_validating_ones() -> None:
    there = World()
    there.objects.unknown = {"MutatingAdmissionPolicy"}
    message = "this API server does not serve MutatingAdmissionPolicy of admissionregistration.k8s.io/v1"
    with pytest.raises(NotFound, match=message):
        there.backstop(Engine.NATIVE).check()
    assert there.written() == []


def test_an_admission_policy_without_our_label_stays_unchanged_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = World()
    kept = there.backstop(Engine.VALIDATING)
    kept.check()
    there.written()
    del there.objects.stored[REFUSE[0]]["metadata"]["labels"]
    there.objects.stored[REFUSE[0]]["spec"] = {}
    for there.seconds in (5.0, 10.0):
        kept.check()
    assert there.written() == []
    (told,) = caplog.records
    assert told.getMessage().startswith(
        "not changing ValidatingAdmissionPolicy serviceentry-guard-refuse: it has no label"
    )
    there.backstop(None).check()
    assert there.written() == [REFUSE[1]]


def test_none_removes_and_then_hardly_looks() -> None:
    there = World()
    there.backstop(Engine.VALIDATING).check()
    assert there.backstop(None).check() == LONG
    assert there.objects.stored == {}


def test_without_rights_none_is_content_and_an_engine_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    there = World()
    there.objects.forbidden = True
    assert there.backstop(None).check() == LONG
    assert "so none is deleted: you cannot" in caplog.text
    with pytest.raises(Forbidden):
        there.backstop(Engine.VALIDATING).check()


def test_the_task_counts_failures_in_a_metric() -> None:
    registry, leadership = CollectorRegistry(), Leadership()
    there = World(metrics=BackstopMetrics(registry))
    there.objects.forbidden = True
    policy: Any = there
    task = backstop_task(Engine.NATIVE, policy, there.metrics, there)(there.objects, leadership)
    task.start()
    leadership.begin()
    failures = "serviceentry_guard_backstop_failures_total"
    wait_until(lambda: bool(registry.get_sample_value(failures)), "it fails")
    task.stop(30.0)
