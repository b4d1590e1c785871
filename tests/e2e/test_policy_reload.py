"""The policy file under running processes: what an edit changes, how soon, and what a broken one does not."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.policy.model import API_VERSION, KIND
from app.kube.client import Client
from app.kube.errors import Forbidden
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook, fetch, guard, ready
from tests.bed.processes import wait_until
from tests.e2e.team import GUARDED, Team

pytestmark = pytest.mark.e2e

NUMBERS = count(1)
IN_FORCE = 60.0
"""Seconds to wait for an edit's effect on a busy machine; `make bench` measures that it takes less than two."""

Edit = Callable[[Path, str], object]


def in_place(path: Path, content: str) -> None:
    path.write_text(content)


def by_rename(path: Path, content: str) -> None:
    new = path.with_name(f"new-{next(NUMBERS)}")
    new.write_text(content)
    new.rename(path)


def by_link(path: Path, content: str) -> None:
    """As the kubelet updates a ConfigMap volume: a new folder, and a link to it that is swapped."""
    folder = path.with_name(f"..{next(NUMBERS)}")
    folder.mkdir()
    (folder / path.name).write_text(content)
    for link, target in ((path.with_name("..data"), folder.name), (path, f"..data/{path.name}")):
        new = path.with_name(f"link-{next(NUMBERS)}")
        new.symlink_to(target)
        new.rename(link)


class Followed:
    """A policy file, and the two processes that follow it."""

    def __init__(self, path: Path, webhook: Webhook, controller: Controller) -> None:
        self.path = path
        self.webhook = webhook
        self.controller = controller

    def edit(self, how: Edit = by_rename, **fields: Any) -> float:
        """Write another policy; return when, on the monotonic clock."""
        how(self.path, document(**fields))
        return time.monotonic()

    def settle(self, **fields: Any) -> None:
        """Write another policy, and wait until both processes have taken it."""
        before = self.told("generation")
        self.edit(**fields)
        wait_until(lambda: self.told("generation") == [one + 1 for one in before], "both have the policy", IN_FORCE)

    def told(self, metric: str) -> list[float]:
        """What webhook and controller say in a metric of their policy."""
        lines = [fetch(port, "/metrics").splitlines() for port in self.health_ports]
        name = f"serviceentry_guard_policy_{metric} "
        return [float(line.removeprefix(name)) for each in lines for line in each if line.startswith(name)]

    @property
    def health_ports(self) -> tuple[int, int]:
        return self.webhook.health_port, self.controller.health_port

    @property
    def logs(self) -> list[str]:
        return [self.webhook.child.log.read_text(), self.controller.child.log.read_text()]


def document(**fields: Any) -> str:
    return yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, **fields})


@pytest.fixture(scope="module")
def followed(spare: ControlPlane, spare_api: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """Webhook and controller on a control plane without others, which would undo what they do."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(document())
    with guard(spare, policy=path, selector=GUARDED) as processes:
        Team.create(spare, spare_api, f"followed-probe-{next(NUMBERS)}", GUARDED).wait_until_guarded()
        yield Followed(path, *processes)


@pytest.fixture
def tenant(spare: ControlPlane, spare_api: Client, followed: Followed) -> Team:  # noqa: ARG001 - has to run
    """A team that both processes look after."""
    return Team.create(spare, spare_api, f"tenant-{next(NUMBERS)}", GUARDED)


def admitted(team: Team, **metadata: Any) -> str:
    """The resolution that an entry with NONE is stored with; SEG012 where its two reviews saw two policies."""
    name = f"admitted-{next(NUMBERS)}"
    try:
        team.store(team.entry(name, hosts=[team.host(name)], resolution="NONE", metadata=metadata))
    except Forbidden as error:
        if "SEG012" not in error.message:
            raise
        return "SEG012"
    resolution = str(team.stored(name)["spec"]["resolution"])
    team.delete(name)
    return resolution


def seconds_until(condition: Callable[[], bool], since: float) -> float:
    """Seconds from `since` until the condition holds, for as long as an edit may take to be in force."""
    with suppress(TimeoutError):
        wait_until(condition, "the edit is in force", IN_FORCE)
    assert condition()
    return time.monotonic() - since


def emitted(team: Team, *labels: str) -> bool:
    """Whether exactly the hosts with these labels have a VirtualService."""
    return team.virtual_services().keys() == {team.host(label) for label in labels}


@pytest.mark.parametrize("how", [in_place, by_rename, by_link])
def test_from_warn_to_enforce_and_back_is_an_edit_that_takes_effect_without_a_restart(
    followed: Followed, tenant: Team, how: Edit
) -> None:
    followed.settle(mode="Warn")
    labels = [f"host-{number}" for number in range(10)]
    tenant.store(*(tenant.entry(label, hosts=[tenant.host(label)]) for label in labels))
    assert admitted(tenant) == "NONE"
    wait_until(lambda: emitted(tenant), "nothing is emitted under Warn", IN_FORCE)

    since = followed.edit(how, mode="Enforce")
    assert seconds_until(lambda: admitted(tenant) == "DNS", since) < IN_FORCE
    assert seconds_until(lambda: emitted(tenant, *labels), since) < IN_FORCE

    since = followed.edit(how, mode="Warn")
    assert seconds_until(lambda: admitted(tenant) == "NONE", since) < IN_FORCE
    assert seconds_until(lambda: emitted(tenant), since) < IN_FORCE


def garble(path: Path) -> None:
    by_rename(path, document(mode="Enforced"))


def truncate(path: Path) -> None:
    in_place(path, "")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("breaking", [garble, truncate, remove])
def test_an_invalid_policy_file_is_rejected_counted_and_logged_and_the_last_policy_stays_in_force(
    followed: Followed, tenant: Team, breaking: Callable[[Path], None]
) -> None:
    followed.settle(mode="Enforce")
    tenant.store(tenant.entry())
    tenant.expect(tenant.host())
    before = followed.told("reload_failures_total")

    breaking(followed.path)
    refused = [one + 1 for one in before]
    wait_until(lambda: followed.told("reload_failures_total") == refused, "both have refused the file", IN_FORCE)
    assert followed.told("last_reload_successful") == [0, 0]
    assert all(ready(port) for port in followed.health_ports)
    said = f'"level":"error","logger":"app.policyfile","message":"{followed.path}:'
    assert all(said in log for log in followed.logs)
    assert all("; the previous policy stays in force" in log for log in followed.logs)
    assert admitted(tenant) == "DNS"
    tenant.settle()
    assert emitted(tenant, "api")

    since = followed.edit(mode="Warn")
    assert seconds_until(lambda: emitted(tenant), since) < IN_FORCE
    assert seconds_until(lambda: followed.told("last_reload_successful") == [1, 1], since) < IN_FORCE
    assert followed.told("reload_failures_total") == refused


def test_an_override_is_granted_within_its_bounds_and_refused_beyond_them_naming_the_bound(
    followed: Followed, tenant: Team
) -> None:
    followed.settle(virtualService={"overrides": {"attempts": {"max": 5}}})
    five = {"annotations": {"serviceentry-guard.io/attempts": "5"}}
    tenant.store(tenant.entry(metadata=five))
    assert attempts(tenant) == 5
    with pytest.raises(Forbidden, match=r'SEG013 .*"6" is outside 0 to 5, the bounds of the policy'):
        admitted(tenant, annotations={"serviceentry-guard.io/attempts": "6"})

    since = followed.edit(virtualService={"overrides": {"attempts": {"max": 4}}})
    assert seconds_until(lambda: attempts(tenant) == 3, since) < IN_FORCE
    assert seconds_until(lambda: is_refused(tenant, five), since) < IN_FORCE


def attempts(team: Team) -> int:
    return int(team.virtual_service()["spec"]["http"][0]["retries"]["attempts"])


def is_refused(team: Team, metadata: dict[str, Any]) -> bool:
    try:
        admitted(team, **metadata)
    except Forbidden as error:
        return '"5" is outside 0 to 4, the bounds of the policy' in error.message
    return False


def test_the_findings_that_the_controller_counts_are_those_under_the_policy_in_force(
    followed: Followed, tenant: Team
) -> None:
    def counted(code: str) -> float:
        return followed.controller.metric("serviceentry_guard_findings", namespace=tenant.namespace, code=code)

    followed.settle(mode="Off")
    tls = {"number": 443, "name": "tls", "protocol": "TLS"}
    tenant.store(tenant.entry(ports=[tls]), tenant.entry("other", hosts=[tenant.host("other")], ports=[tls]))
    since = followed.edit(mode="Enforce")
    assert seconds_until(lambda: counted("SEG020") == 2, since) < IN_FORCE
    since = followed.edit(exemptions={"hosts": [tenant.host("other")]})
    assert seconds_until(lambda: (counted("SEG020"), counted("SEG002")) == (1, 1), since) < IN_FORCE
    since = followed.edit(mode="Off")
    assert seconds_until(lambda: (counted("SEG020"), counted("SEG002")) == (0, 0), since) < IN_FORCE


def test_only_the_namespaces_that_an_edit_names_change(followed: Followed, tenant: Team) -> None:
    bystander = Team.create(tenant.control_plane, tenant.client, f"bystander-{next(NUMBERS)}", GUARDED)
    followed.settle(mode="Warn")
    tenant.store(tenant.entry())
    bystander.store(bystander.entry())
    since = followed.edit(mode="Warn", namespaces=[{"match": [tenant.namespace], "mode": "Enforce"}])
    assert seconds_until(lambda: emitted(tenant, "api"), since) < IN_FORCE
    assert seconds_until(lambda: admitted(tenant) == "DNS", since) < IN_FORCE
    assert admitted(bystander) == "NONE"
    assert emitted(bystander)
