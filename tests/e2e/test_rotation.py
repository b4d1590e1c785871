"""Certificates that renew themselves, on a real API server: no request is lost, and what breaks is repaired."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.certificates.probe import ProbeError, probe
from app.certificates.x509 import UnreadablePair, create_authority, is_from, read_bundle, read_pair
from app.kube.client import Client
from app.kube.errors import ApiError
from app.kube.resources import CONFIGURATIONS, SECRETS
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller
from tests.bed.processes import wait_until
from tests.e2e.installation import CA_SECRET, TLS_SECRET, Installation
from tests.e2e.team import SERVICE_ENTRIES

pytestmark = pytest.mark.e2e

EXPIRED = "certificate has expired or is not yet valid"
REPAIR_SECONDS = 60.0
ALONE = "--no-leader-elect"
SHORT = ("--ca-lifetime=60s", "--certificate-lifetime=40s", "--certificate-propagation=6s")
"""An authority is followed after 40 s."""
RATE = 50
THREADS = 5


@pytest.fixture
def installation(spare: ControlPlane, spare_api: Client, tmp_path: Path) -> Iterator[Installation]:
    there = Installation(spare, spare_api, tmp_path)
    yield there
    for resource in CONFIGURATIONS:
        spare_api.delete(resource, None, there.name)


class Load:
    """Admissions at a rate, each a dry run that both webhooks are asked about, and handshakes beside them."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._ended = threading.Event()
        self.failures: list[str] = []
        self.admitted = self.handshakes = 0
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._admit, args=[number]) for number in range(THREADS)]
        threads.append(threading.Thread(target=self._connect))
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self.seconds = time.monotonic() - began
            for thread in threads:
                thread.join()

    def _admit(self, number: int) -> None:
        """One after the other; what is late is made up for, to the last that was due when the load ended."""
        entry = self._installation.entry(f"load-{number}")
        due = began = time.monotonic()
        while not self._ended.is_set() or due < began + self.seconds:
            try:
                rehearsed = self._installation.client.rehearse(SERVICE_ENTRIES, entry)
                if rehearsed.object["spec"]["resolution"] != "DNS":
                    self.failures.append("not changed")
            except ApiError as error:
                self.failures.append(str(error))
            self.admitted += 1
            due += THREADS / RATE
            time.sleep(max(0.0, due - time.monotonic()))  # the pace of the load; nothing is waited for

    def _connect(self) -> None:
        """A fresh connection under the live caBundle: what kept-alive ones would hide."""
        while not self._ended.wait(0.2):
            try:
                probe(self._installation.address, self._installation.bundle(), 20.0)
            except ProbeError as error:
                self.failures.append(f"handshake: {error}")
            self.handshakes += 1


def admits(installation: Installation) -> bool:
    """Whether an entry is changed."""
    try:
        rehearsed = installation.client.rehearse(SERVICE_ENTRIES, installation.entry())
    except ApiError:
        return False
    return bool(rehearsed.object["spec"]["resolution"] == "DNS")


def test_no_admission_fails_while_the_authority_is_followed(installation: Installation) -> None:
    load = Load(installation)
    with installation.running(ALONE, *SHORT):
        wait_until(lambda: admits(installation), "the API server trusts the authority", 60)
        (old,) = installation.authorities()
        with load.running():
            wait_until(lambda: len(installation.authorities()) == 2, "both are trusted", 120)
            wait_until(lambda: old not in installation.authorities(), "the old one is not trusted any more", 120)
            (new,) = installation.authorities()
            wait_until(lambda: load.handshakes > 20, "fresh connections were made", 60)
        (serving,) = read_bundle(installation.secret(TLS_SECRET)["tls.crt"])
        assert is_from(serving, new)
        assert load.failures == []
        assert load.admitted >= RATE * load.seconds
        probe(installation.address, installation.bundle())


def delete(name: str) -> Callable[[Installation], None]:
    return lambda there: there.client.delete(SECRETS, there.name, name)


def garble(name: str, key: str) -> Callable[[Installation], None]:
    def spoil(there: Installation) -> None:
        change = {"op": "replace", "path": f"/data/{key}", "value": base64.b64encode(b"garbage").decode()}
        there.client.json_patch(SECRETS, there.name, name, [change])

    return spoil


def put_bundle(text: str) -> Callable[[Installation], None]:
    def spoil(there: Installation) -> None:
        change = {"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": text}
        for resource in CONFIGURATIONS:
            there.client.json_patch(resource, None, there.name, [change])

    return spoil


def lose_both(there: Installation) -> None:
    delete(CA_SECRET)(there)
    delete(TLS_SECRET)(there)


@pytest.fixture(scope="module")
def steady(spare: ControlPlane, spare_api: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the lifetimes that it has in life."""
    there = Installation(spare, spare_api, tmp_path_factory.mktemp("steady"))
    with there.running(ALONE):
        wait_until(lambda: admits(there), "the API server trusts the authority", 60)
        yield there
    for resource in CONFIGURATIONS:
        spare_api.delete(resource, None, there.name)


def blank(there: Installation) -> None:
    put_bundle("")(there)


def distrust(there: Installation) -> None:
    stranger = create_authority(datetime.now(UTC), timedelta(days=1))
    put_bundle(base64.b64encode(stranger.certificate_pem).decode())(there)


def sound(there: Installation) -> bool:
    """Whether both configurations trust what the Secrets hold, and the webhook serves it."""
    serving, authority = there.secret(TLS_SECRET), there.secret(CA_SECRET)
    bundles = {there.bundle(resource) for resource in CONFIGURATIONS}
    if not serving or not authority or bundles != {serving["ca.crt"]}:
        return False
    try:
        signer = read_pair(authority["tls.crt"], authority["tls.key"]).certificate
        read_pair(serving["tls.crt"], serving["tls.key"])
        probe(there.address, serving["ca.crt"])
    except (UnreadablePair, ProbeError):
        return False
    return signer in there.authorities() and admits(there)


@pytest.mark.parametrize(
    "injury",
    [
        delete(TLS_SECRET),
        delete(CA_SECRET),
        lose_both,
        garble(TLS_SECRET, "tls.key"),
        garble(TLS_SECRET, "tls.crt"),
        garble(CA_SECRET, "tls.key"),
        blank,
        distrust,
    ],
    ids=[
        "serving Secret deleted",
        "authority Secret deleted",
        "both Secrets deleted",
        "serving key garbled",
        "serving certificate garbled",
        "authority key garbled",
        "caBundle blanked",
        "caBundle of another",
    ],
)
def test_damaged_objects_are_repaired_within_ten_seconds(
    steady: Installation, injury: Callable[[Installation], None]
) -> None:
    wait_until(lambda: sound(steady), "all is well", 30)
    injury(steady)
    assert not sound(steady)
    wait_until(lambda: sound(steady), "it is repaired", REPAIR_SECONDS)


def refusal(there: Installation) -> str:
    """Why the API server does not take an entry; empty where it does."""
    try:
        there.client.rehearse(SERVICE_ENTRIES, there.entry())
    except ApiError as error:
        return error.message
    return ""


def test_certificates_that_expired_without_a_controller_are_replaced_within_ten_seconds(
    installation: Installation,
) -> None:
    short = (ALONE, "--ca-lifetime=40s", "--certificate-lifetime=20s", "--certificate-propagation=4s")
    with installation.kubelet(), installation.webhook() as webhook:
        with installation.controller(*short):
            webhook.wait_until(lambda: admits(installation), "an entry is changed", 60)
        webhook.wait_until(lambda: not installation.ready, "the certificate expires", 60)
        webhook.kill()  # the API server would go on using the connections that it has
        webhook.start().wait_until(lambda: "it expired on" in webhook.tail(), "it has nothing else to serve", 60)
        webhook.wait_until(lambda: EXPIRED in refusal(installation), "the API server trusts it no longer", 60)
        with installation.controller(*short):
            webhook.wait_until(lambda: admits(installation), "an entry is changed again", REPAIR_SECONDS)


def test_a_controller_that_may_not_read_its_secrets_says_so_and_the_webhook_waits(
    installation: Installation, tmp_path: Path
) -> None:
    powerless = installation.control_plane.user_kubeconfig("powerless")
    flags = (f"--namespace={installation.name}", "--manage-certificates", ALONE)
    controller = Controller(installation.control_plane, tmp_path, flags, powerless)
    with controller.child, installation.webhook() as webhook:
        controller.child.wait_until(lambda: "certificates failed" in controller.child.tail(50), "it says so", 60)
        assert "cannot get resource" in controller.child.tail(50)
        webhook.wait_until(lambda: "cannot serve" in webhook.tail(), "the webhook says what it waits for")
        assert not installation.ready
