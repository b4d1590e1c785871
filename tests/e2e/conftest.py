"""The product beside the control plane of the whole run, and a team for each test."""

from collections.abc import Iterator
from itertools import count

import pytest

from app.core.cel.admission_policy import Engine
from app.kube.client import Client
from tests.bed.administrator import administrator
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook, exempting, guard
from tests.e2e.backstops import require_engine
from tests.e2e.forwarder import Forwarder
from tests.e2e.team import GUARDED, Team

NUMBERS = count(1)


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Client]:
    """The API server as its administrator sees it, without the cost of a kubectl for each call."""
    yield from administrator(control_plane)


@pytest.fixture(scope="session")
def product(
    control_plane: ControlPlane, api: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Webhook, Controller]]:
    """Webhook and controller with the recipe, by which teams may exempt entries; asked in labelled namespaces only."""
    policy = exempting(tmp_path_factory.mktemp("policy"))
    with guard(control_plane, policy=policy, selector=GUARDED) as processes:
        Team.create(control_plane, api, "guard-probe", GUARDED).wait_until_guarded()
        yield processes


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A second control plane, to freeze and restart: nothing of ours runs there but what a test starts.

    It knows the bearer token `good`. tests/conftest.py keeps all files that use it on one worker: it is started once.
    """
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.csv"
    tokens.write_text("good,bearer,1,system:masters\n")
    with ControlPlane(provide(), [f"--token-auth-file={tokens}"]) as spare:
        yield spare


@pytest.fixture(scope="session")
def spare_api(spare: ControlPlane) -> Iterator[Client]:
    """The second control plane as its administrator sees it."""
    yield from administrator(spare)


@pytest.fixture
def loner(spare: ControlPlane, spare_api: Client) -> Team:
    """A team on the second control plane."""
    return Team.create(spare, spare_api, f"loner-{next(NUMBERS)}")


@pytest.fixture
def forwarder(spare: ControlPlane) -> Iterator[Forwarder]:
    """A way to the second API server that can be cut."""
    forwarder = Forwarder(spare.url)
    yield forwarder
    forwarder.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """A control plane of the file's own, for what concerns all namespaces of a cluster."""
    with ControlPlane(provide()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def admin(cluster: ControlPlane) -> Iterator[Client]:
    """The API server as its administrator sees it."""
    yield from administrator(cluster)


@pytest.fixture
def native(control_plane: ControlPlane) -> None:
    """The engine `native`; without it the test is left out."""
    require_engine(control_plane, Engine.NATIVE)


@pytest.fixture
def webhook(product: tuple[Webhook, Controller]) -> Webhook:
    """The running webhook."""
    return product[0]


@pytest.fixture
def controller(product: tuple[Webhook, Controller]) -> Controller:
    """The running controller."""
    return product[1]


@pytest.fixture
def team(control_plane: ControlPlane, api: Client, product: object) -> Team:  # noqa: ARG001 - has to run
    """A team under guard."""
    return Team.create(control_plane, api, f"team-{next(NUMBERS)}", GUARDED)


@pytest.fixture
def neighbour(control_plane: ControlPlane, api: Client, product: object) -> Team:  # noqa: ARG001 - has to run
    """Another team under guard."""
    return Team.create(control_plane, api, f"neighbour-{next(NUMBERS)}", GUARDED)


@pytest.fixture
def unguarded(control_plane: ControlPlane, api: Client, product: object) -> Team:  # noqa: ARG001 - has to run
    """A team whose namespace the webhook is not asked for: what it stores, the webhook has missed."""
    return Team.create(control_plane, api, f"unguarded-{next(NUMBERS)}")
