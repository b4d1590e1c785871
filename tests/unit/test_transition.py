"""Replicas that have different policies for a while reject nothing that the new policy would repair."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.policyfile import START_SECONDS, TRANSITION_SECONDS, PolicyFile
from app.webhook.admission import Stage
from app.webhook.mounted import PoliciesFile
from app.webhook.transition import answer_in_transition

HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
REPAIRABLE = {"hosts": ["api.example.com"], "ports": [HTTP], "resolution": "NONE"}
UNFIXABLE = {**REPAIRABLE, "addresses": ["198.51.100.0/24"]}
MODES = ("Enforce", "Warn", "Off")


class Replica:
    """A webhook that took another policy a moment ago."""

    def __init__(self, folder: Path, before: str, now: str) -> None:
        self.now, self.path = 0.0, folder / f"{before}-{now}.yaml"
        self._write(before)
        self.policy = PolicyFile(self.path, lambda _: None, clock=lambda: self.now)
        self.now = 1000.0
        self.take(now)

    def take(self, mode: str) -> None:
        """Take another policy."""
        self._write(mode)
        self.policy.poll()
        self.policy.poll()

    def _write(self, mode: str) -> None:
        self.path.write_text(text_of(mode))

    def allows(self, stage: Stage, spec: Any) -> bool:
        """Whether it lets an entry in."""
        return answer_in_transition(stage, review(spec), self.policy).allowed


class Started(Replica):
    """A webhook that started with its policy, and mounts the policies that the controller writes."""

    def __init__(self, folder: Path, mode: str, *written: str) -> None:
        """`written` are the modes of the policies in its ConfigMap; none: no controller has written one yet."""
        self.now, self.path, self.file = 0.0, folder / "policy.yaml", folder / "policies.json"
        self._write(mode)
        if written:
            self._mount(*written)
        self.policy = PolicyFile(self.path, lambda _: None, clock=lambda: self.now)
        self.policies = PoliciesFile(self.file, self.policy)

    def receive(self, *modes: str) -> None:
        """Get the policies of these modes from the controller, the current one first."""
        self._mount(*modes)
        self.policies.poll()

    def _mount(self, *modes: str) -> None:
        self.file.write_text(json.dumps([{"text": text_of(mode), "until": None} for mode in modes]))


def text_of(mode: str) -> str:
    """A policy with this mode, as YAML."""
    head = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
    return yaml.safe_dump({**head, "metadata": {"name": mode}, "mode": mode})


def review(spec: Any) -> bytes:
    """A review of the creation of an entry."""
    entry = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "api", "namespace": "team"},
        "spec": spec,
    }
    kind = {"group": "networking.istio.io", "version": "v1", "kind": "ServiceEntry"}
    request = {"uid": "u", "kind": kind, "operation": "CREATE", "namespace": "team", "name": "api", "object": entry}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@pytest.mark.parametrize("before", ["Warn", "Off"])
def test_a_repairable_entry_is_allowed_for_a_while_after_a_change_to_enforce(before: str, tmp_path: Path) -> None:
    replica = Replica(tmp_path, before, "Enforce")
    assert replica.allows(Stage.VALIDATE, REPAIRABLE)
    assert not replica.allows(Stage.VALIDATE, UNFIXABLE), "nobody repairs it"
    replica.now += TRANSITION_SECONDS
    assert not replica.allows(Stage.VALIDATE, REPAIRABLE)


def test_a_replica_may_have_any_of_the_policies_that_changed_within_minutes(tmp_path: Path) -> None:
    replica = Replica(tmp_path, "Warn", "Off")
    for mode in ("Enforce", "Off", "Enforce"):
        replica.now += 60.0
        replica.take(mode)
    assert [one.mode.value for one in replica.policy.earlier] == ["Warn", "Off", "Enforce", "Off"]
    assert replica.allows(Stage.VALIDATE, REPAIRABLE)
    replica.now += TRANSITION_SECONDS - 61.0
    assert [one.mode.value for one in replica.policy.earlier] == ["Enforce", "Off"]
    replica.now += 61.0
    assert not replica.allows(Stage.VALIDATE, REPAIRABLE)


@pytest.mark.parametrize(("before", "now"), [*itertools.permutations(MODES, 2)])
def test_nothing_that_both_policies_reject_is_let_in(before: str, now: str, tmp_path: Path) -> None:
    replica = Replica(tmp_path, before, now)
    for spec in (REPAIRABLE, UNFIXABLE):
        if replica.allows(Stage.VALIDATE, spec):
            assert now != "Enforce" or (before != "Enforce" and spec is REPAIRABLE)


def test_a_replica_that_started_with_its_policy_has_none_before(tmp_path: Path) -> None:
    assert PolicyFile(Replica(tmp_path, "Warn", "Enforce").path, lambda _: None).earlier == []


def test_a_new_installation_rejects_nothing_that_it_would_repair_before_mutation_is_called(tmp_path: Path) -> None:
    """Seen on a slow cluster: kube-proxy had no address for the mutating call, and had one for the validating call."""
    replica = Started(tmp_path, "Enforce")
    assert replica.allows(Stage.VALIDATE, REPAIRABLE)
    assert not replica.allows(Stage.VALIDATE, UNFIXABLE), "nobody repairs it"
    replica.receive("Enforce")
    assert replica.allows(Stage.VALIDATE, REPAIRABLE), "the controller is faster than the API server"
    replica.now += START_SECONDS
    assert not replica.allows(Stage.VALIDATE, REPAIRABLE)


def test_a_webhook_that_mounts_no_policies_is_strict_from_the_start(tmp_path: Path) -> None:
    replica = Started(tmp_path, "Enforce", "Enforce")
    PoliciesFile(None, replica.policy)
    assert not replica.allows(Stage.VALIDATE, REPAIRABLE)


def test_a_replica_that_starts_with_the_new_policy_learns_the_earlier_one_from_the_controller(tmp_path: Path) -> None:
    """A `helm upgrade` that changes the policy and the image: new pods judge what old ones left alone."""
    replica = Started(tmp_path, "Enforce", "Enforce")
    assert not replica.allows(Stage.VALIDATE, REPAIRABLE), "only mutation that was skipped leaves it so"
    replica.receive("Enforce", "Warn")
    assert replica.allows(Stage.VALIDATE, REPAIRABLE)
    assert not replica.allows(Stage.VALIDATE, UNFIXABLE)
    replica.now += TRANSITION_SECONDS / 2
    replica.receive("Enforce", "Warn", "Off")
    replica.now += TRANSITION_SECONDS / 2
    assert [policy.mode.value for policy in replica.policy.earlier] == ["Off"], "Warn counts from when it came"
    replica.now += TRANSITION_SECONDS
    assert not replica.allows(Stage.VALIDATE, REPAIRABLE)


def test_a_replica_notes_a_policy_again_that_comes_back(tmp_path: Path) -> None:
    replica = Started(tmp_path, "Enforce", "Enforce")
    for texts in (["Enforce", "Warn"], ["Enforce"], ["Warn", "Enforce"]):
        replica.now += TRANSITION_SECONDS
        replica.receive(*texts)
    assert replica.allows(Stage.VALIDATE, REPAIRABLE)


def test_a_policy_that_this_version_cannot_read_is_ignored_with_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replica = Started(tmp_path, "Enforce", "Enforce")
    replica.receive("Enforce", "Tomorrow")
    assert replica.policy.earlier == []
    assert "mode" in caplog.text


def test_a_file_of_policies_that_is_not_valid_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    replica = Started(tmp_path, "Enforce", "Enforce")
    replica.receive("Enforce", "Warn")
    replica.file.write_text('[{"text": 1}]')
    replica.policies.poll()
    assert [policy.mode.value for policy in replica.policy.earlier] == ["Warn"]
    assert "is not valid" in caplog.text
