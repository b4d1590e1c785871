"""The ConfigMap that the leader writes for the webhook's pods, in a real API server."""

import json
from pathlib import Path

import pytest

from app.controller.inventory import Inventory
from app.controller.leadership import Leadership
from app.controller.pod_files import POLICIES, READ_PASSES, SIBLINGS, PodFiles, PolicyHistory
from app.controller.siblings import Siblings
from app.controller.verdict_cache import VerdictCache
from app.kube.client import Client
from app.kube.resources import CONFIG_MAPS
from app.policyfile import PolicyFile

pytestmark = pytest.mark.e2e

HEAD = "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n"
NAME = "written"


class Replica:
    """A controller that knows no ServiceEntry."""

    def __init__(self, client: Client, namespace: str, policy: Path) -> None:
        self.policy = PolicyFile(policy, lambda _: None)
        siblings = Siblings(Inventory(), VerdictCache(), self.policy)
        siblings.recount(())
        self.leadership = Leadership()
        history = PolicyHistory(self.policy)
        self._files = PodFiles(client, siblings, history, self.leadership, namespace=namespace, name=NAME)

    def lead(self) -> None:
        """Begin to lead, and make a pass."""
        self.leadership.begin()
        self.check()

    def check(self) -> None:
        """Make a pass with the policy that its file has now."""
        self.policy.poll()
        self.policy.poll()
        self._files.check()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(HEAD + "mode: Warn")
    return path


def stored(client: Client, namespace: str) -> tuple[str, list[str]]:
    """The resourceVersion of the ConfigMap, and the policies in it."""
    found = client.get(CONFIG_MAPS, namespace, NAME)
    assert json.loads(found["data"][SIBLINGS]) == {}
    texts = [each["text"].removeprefix(HEAD) for each in json.loads(found["data"][POLICIES])]
    return found["metadata"]["resourceVersion"], texts


def test_a_leader_that_starts_with_the_new_policy_keeps_the_earlier_one_in_the_config_map(
    api: Client, namespace: str, policy: Path
) -> None:
    Replica(api, namespace, policy).lead()
    policy.write_text(HEAD + "mode: Enforce")
    Replica(api, namespace, policy).lead()
    assert stored(api, namespace)[1] == ["mode: Enforce", "mode: Warn"]


def test_a_pass_without_a_change_writes_nothing(api: Client, namespace: str, policy: Path) -> None:
    replica = Replica(api, namespace, policy)
    replica.lead()
    version = stored(api, namespace)[0]
    replica.check()
    Replica(api, namespace, policy).lead()
    assert stored(api, namespace)[0] == version


def test_a_config_map_that_another_client_deleted_comes_back(api: Client, namespace: str, policy: Path) -> None:
    replica = Replica(api, namespace, policy)
    replica.lead()
    api.delete(CONFIG_MAPS, namespace, NAME)
    for _ in range(READ_PASSES):
        replica.check()
    assert stored(api, namespace)[1] == ["mode: Warn"]


def test_a_replica_that_leads_again_replaces_what_another_leader_wrote(
    api: Client, namespace: str, policy: Path, tmp_path: Path
) -> None:
    first = Replica(api, namespace, policy)
    first.lead()
    other = tmp_path / "other.yaml"
    other.write_text(HEAD + "mode: Off")
    Replica(api, namespace, other).lead()
    assert stored(api, namespace)[1] == ["mode: Off", "mode: Warn"]
    first.leadership.end()
    first.lead()
    assert stored(api, namespace)[1] == ["mode: Warn", "mode: Off"]
