"""The policies that replicas may have, as the leader writes them for the webhook's pods."""

import json
from pathlib import Path

import pytest

from app.controller.pod_files import POLICIES_ROOM, PolicyHistory
from app.policyfile import EARLIER_LIMIT, TRANSITION_SECONDS, PolicyFile

HEAD = "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n"


class Leader:
    """A leader whose policy and time of day the test sets."""

    def __init__(self, path: Path, now: float = 1000.0) -> None:
        self.path, self.now = path, now
        if not path.exists():
            path.write_text(HEAD)
        self.policy = PolicyFile(path, lambda _: None)
        self.history = PolicyHistory(self.policy, lambda: self.now)

    def take(self, policy: str) -> None:
        """Take another policy."""
        self.path.write_text(HEAD + policy)
        self.policy.poll()
        self.policy.poll()

    def texts(self) -> list[str]:
        """The policies without their first lines."""
        return [each["text"].removeprefix(HEAD) for each in json.loads(self.history.document())]


@pytest.fixture
def leader(tmp_path: Path) -> Leader:
    return Leader(tmp_path / "policy.yaml")


def test_an_earlier_policy_stays_in_the_history_for_as_long_as_a_replica_may_have_it(leader: Leader) -> None:
    assert leader.texts() == [""]
    leader.take("mode: Warn")
    assert leader.texts() == ["mode: Warn", ""]
    leader.now += TRANSITION_SECONDS - 1
    assert leader.texts() == ["mode: Warn", ""]
    leader.now += 2
    assert leader.texts() == ["mode: Warn"]


def test_the_document_is_the_same_until_a_policy_comes_or_goes(leader: Leader) -> None:
    leader.take("mode: Warn")
    before = leader.history.document()
    leader.now += TRANSITION_SECONDS / 2
    assert leader.history.document() == before


def test_a_policy_that_comes_back_is_in_the_history_once(leader: Leader) -> None:
    leader.texts()
    for mode in ("mode: Warn", "mode: Off", "mode: Warn"):
        leader.take(mode)
        leader.texts()
    assert leader.texts() == ["mode: Warn", "mode: Off", ""]


def test_the_next_leader_continues_the_history(leader: Leader, tmp_path: Path) -> None:
    """It starts with the new policy, as after a `helm upgrade` that changes the policy and the image."""
    stored = leader.history.document()
    leader.take("mode: Warn")
    new = Leader(tmp_path / "policy.yaml", leader.now)
    new.history.load(stored)
    assert new.texts() == ["mode: Warn", ""]


def test_a_time_of_day_that_goes_back_keeps_no_policy_for_longer(leader: Leader) -> None:
    leader.texts()
    leader.now += 3600
    leader.take("mode: Warn")
    leader.texts()
    leader.now -= 3600
    assert leader.texts() == ["mode: Warn", ""]
    leader.now += TRANSITION_SECONDS + 1
    assert leader.texts() == ["mode: Warn"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"text": ""}]', '[{"text": "", "until": "x"}]', "null"])
def test_an_invalid_history_is_replaced(leader: Leader, text: str) -> None:
    leader.history.load(text)
    assert leader.texts() == [""]


def test_the_history_stays_within_its_room(leader: Leader) -> None:
    leader.texts()
    for number in range(3 * EARLIER_LIMIT):
        leader.take(f"#{number}{'x' * 40_000}")
        document = leader.history.document()
    assert len(document) <= POLICIES_ROOM
    assert len(json.loads(document)) == 4
    leader.take("#" + "x" * POLICIES_ROOM)
    assert json.loads(leader.history.document()) == []
