"""Two installations in one cluster: never do both act, and it is said which one does not, and why."""

import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.kube.client import Client, Object
from app.kube.errors import AlreadyExists, Forbidden, NotFound, Unreachable, WriteConflict
from app.kube.lease import LeaderElector, Timing
from app.kube.pages import ListPage
from app.kube.resources import LEASES, Resource
from app.kube.rivals import Rival, Rivals
from tests.unit.test_kube_lease import Clock

NAME = "controller"
TIMING = Timing()


class Cluster:
    """Leases by namespace, with optimistic locking; `before_list` runs before the next list."""

    def __init__(self) -> None:
        self.stored: dict[str, Object] = {}
        self.error: Exception | None = None
        self.before_list: Callable[[], None] = lambda: None
        self.lists = 0

    def get(self, _: Resource, namespace: str, __: str, **___: Any) -> Object:
        if namespace not in self.stored:
            raise NotFound(404, "NotFound", "no lease")
        return self.stored[namespace]

    def create(self, _: Resource, body: Object, **__: Any) -> Object:
        if body["metadata"]["namespace"] in self.stored:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        return self._write(body, 1)

    def replace(self, _: Resource, body: Object, **__: Any) -> Object:
        version = self.stored[body["metadata"]["namespace"]]["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != version:
            raise WriteConflict(409, "Conflict", "another version")
        return self._write(body, version + 1)

    def list_page(self, resource: Resource, _: None = None, *, field_selector: str, **__: Any) -> ListPage:
        assert (resource, field_selector) == (LEASES, f"metadata.name={NAME}")
        self.lists += 1
        before, self.before_list = self.before_list, lambda: None
        before()
        if self.error:
            raise self.error
        items = [msgspec.Raw(msgspec.json.encode(each)) for each in self.stored.values()]
        return ListPage(tuple(items), "1", "")

    def holders(self) -> dict[str, str]:
        """Who holds which."""
        return {namespace: lease["spec"]["holderIdentity"] for namespace, lease in self.stored.items()}

    def _write(self, body: Object, version: int) -> Object:
        metadata = {**body["metadata"], "resourceVersion": version}
        self.stored[metadata["namespace"]] = {**body, "metadata": metadata}
        return self.stored[metadata["namespace"]]


class Installation:
    """The elector of one installation, and whether it acts."""

    def __init__(self, cluster: Cluster, clock: Clock, namespace: str) -> None:
        self.acts = False
        client = cast("Client", cluster)
        self.elector = LeaderElector(
            client,
            namespace,
            NAME,
            on_started=lambda: self._set(True),
            on_stopped=lambda: self._set(False),
            timing=TIMING,
            clock=clock,
            find_rival=Rivals(client, namespace, NAME, clock).find,
        )

    def _set(self, acts: bool) -> None:
        self.acts = acts


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def first(cluster: Cluster, clock: Clock) -> Installation:
    return Installation(cluster, clock, "first")


@pytest.fixture
def second(cluster: Cluster, clock: Clock) -> Installation:
    return Installation(cluster, clock, "second")


def pass_time(clock: Clock, seconds: float, *renewing: Installation) -> None:
    """Let time pass in which some renew their Leases and all others stand still."""
    for _ in range(round(seconds)):
        clock.now += 1
        for one in renewing:
            one.elector.campaign()


def test_the_one_that_came_first_goes_on_and_the_other_says_why_it_does_nothing(
    first: Installation, second: Installation, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    first.elector.campaign()
    for _ in range(3):
        second.elector.campaign()
        first.elector.campaign()
    assert (first.acts, second.acts) == (True, False)
    assert first.elector.rival is None
    rival = f"Lease first/{NAME} is held by {first.elector.identity}"
    assert str(second.elector.rival) == rival
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"not leading: another installation leads ({rival}); uninstall one of the two"], (
        "it is said once"
    )
    assert "second" not in cluster.stored


def test_once_the_first_is_gone_the_other_takes_over(first: Installation, second: Installation) -> None:
    first.elector.campaign()
    second.elector.campaign()
    first.elector._resign()
    second.elector.campaign()
    assert (first.acts, second.acts) == (False, True)
    assert second.elector.rival is None


def test_a_lease_that_is_not_renewed_delays_the_other_installation_only_for_its_duration(
    first: Installation, second: Installation, clock: Clock
) -> None:
    first.elector.campaign()
    second.elector.campaign()
    pass_time(clock, TIMING.duration - 1, second)
    assert not second.acts
    pass_time(clock, 2, second)
    assert second.acts


def test_of_two_that_come_at_the_same_time_at_most_one_acts(
    first: Installation, second: Installation, cluster: Cluster
) -> None:
    def come() -> None:
        second.elector.campaign()

    cluster.before_list = come  # the second begins and leads after the first has looked, and before it writes
    first.elector.campaign()
    assert first.acts + second.acts == 1


def test_who_sees_another_one_only_after_its_own_write_gives_its_lease_back(
    first: Installation, cluster: Cluster
) -> None:
    def come_before_the_next() -> None:
        cluster.before_list = lambda: cluster.stored.update(second=lease("second"))

    cluster.before_list = come_before_the_next
    first.elector.campaign()
    assert not first.acts
    assert cluster.holders() == {"first": "", "second": "somebody"}


def test_who_leads_does_not_look_for_others_any_more(first: Installation, cluster: Cluster, clock: Clock) -> None:
    first.elector.campaign()
    looked = cluster.lists
    pass_time(clock, 20, first)
    assert (first.acts, cluster.lists) == (True, looked)


def test_a_standby_of_the_installation_that_leads_knows_of_no_rival(
    first: Installation, second: Installation, cluster: Cluster, clock: Clock
) -> None:
    standby = Installation(cluster, clock, "first")
    second.elector.campaign()
    standby.elector.campaign()
    assert standby.elector.rival
    second.elector._resign()
    first.elector.campaign()
    standby.elector.campaign()
    assert (first.acts, standby.acts) == (True, False)
    assert standby.elector.rival is None


def test_without_the_right_to_look_it_leads_and_says_so_once(
    first: Installation, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.error = Forbidden(403, "Forbidden", "no")
    first.elector.campaign()
    first.elector.campaign()
    assert first.acts
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "cannot list Leases to find other installations: no (403 Forbidden)"
    ]


def test_while_it_cannot_be_seen_it_does_not_begin(first: Installation, cluster: Cluster) -> None:
    cluster.error = Unreachable("the API server is away")
    first.elector.campaign()
    assert not first.acts
    cluster.error = None
    first.elector.campaign()
    assert first.acts


def test_of_several_the_first_by_name_is_named(cluster: Cluster, clock: Clock) -> None:
    cluster.stored = {namespace: lease(namespace) for namespace in ("c", "a", "own", "b")}
    cluster.stored["b"]["spec"]["holderIdentity"] = ""
    rivals = Rivals(cast("Client", cluster), "own", NAME, clock)
    assert rivals.find() == Rival("a", NAME, "somebody")


def lease(namespace: str) -> Object:
    """A Lease that somebody holds."""
    return {
        "metadata": {"namespace": namespace, "name": NAME, "resourceVersion": 1},
        "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
    }


class InstallationsMachine(RuleBasedStateMachine):
    """Three installations that campaign, stand still and stop in any order: no two act at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.cluster = Clock(), Cluster()
        self.all = [Installation(self.cluster, self.clock, namespace) for namespace in "abc"]

    @rule(which=st.integers(0, 2))
    def campaign(self, which: int) -> None:
        self.all[which].elector.campaign()

    @rule(which=st.integers(0, 2), other=st.integers(0, 2))
    def campaign_while_another_one_does(self, which: int, other: int) -> None:
        if which != other:
            self.cluster.before_list = self.all[other].elector.campaign
        self.all[which].elector.campaign()
        self.cluster.before_list = lambda: None

    @rule(which=st.integers(0, 2))
    def resign(self, which: int) -> None:
        self.all[which].elector._resign()

    @rule(seconds=st.integers(1, 20))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def no_two_may_write(self) -> None:
        assert sum(one.elector.is_leader() and one.acts for one in self.all) <= 1


TestInstallationsMachine = InstallationsMachine.TestCase
