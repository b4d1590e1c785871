"""The order of a rotation, and every repair, in a cluster in which time is a number."""

import base64
import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.certificates.ca_rotation import MOST_PREVIOUS
from app.certificates.probe import Address, ProbeError, Trouble
from app.certificates.x509 import create_authority, issue, names, read_bundle, read_pair, write_bundle
from app.kube.errors import WriteConflict
from app.kube.resources import CONFIGURATIONS
from app.settings import CertificateSettings
from tests.unit.rotating import NAME, SETTINGS, World, world

TICK = 8.0
"""Seconds between two passes; longer than in life, so that a test is short."""
KINDS = [resource.kind for resource in CONFIGURATIONS]


def begin(seconds: float = 0.0) -> World:
    """A cluster with its first certificates, so much later."""
    there = world()
    there.rotation().check()
    there.seconds = seconds
    return there


def settle(there: World, seconds: float, **changes: object) -> None:
    """Let one leader work for a while."""
    rotation = there.rotation(**changes)
    end = there.seconds + seconds
    while there.seconds <= end:
        rotation.check()
        there.seconds += TICK


def signers(there: World) -> int:
    """How many authorities are trusted."""
    return len(read_bundle(there.objects.bundle()))


class TestAtFirst:
    """Right after the installation."""

    def test_one_pass_makes_everything(self) -> None:
        there = begin()
        authority, serving = there.objects.secret("guard-ca"), there.objects.secret("guard-tls")
        pair = read_pair(serving["tls.crt"], serving["tls.key"])
        assert names(pair.certificate) == (NAME,)
        assert serving["ca.crt"] == authority["tls.crt"]
        for kind in KINDS:
            assert [there.objects.bundle(kind, index) for index in (0, 1)] == [serving["ca.crt"]] * 2

    def test_the_key_of_the_authority_is_in_its_own_secret_only(self) -> None:
        there = begin()
        key = there.objects.secret("guard-ca")["tls.key"]
        assert key not in there.objects.secret("guard-tls").values()
        assert set(there.objects.secret("guard-tls")) == {"tls.crt", "tls.key", "ca.crt"}

    def test_the_secret_that_pods_mount_is_of_the_type_for_it(self) -> None:
        there = begin()
        assert there.objects.stored["Secret", "guard-tls"]["type"] == "kubernetes.io/tls"
        assert there.objects.stored["Secret", "guard-ca"]["type"] == "Opaque"

    def test_the_next_pass_and_the_next_leader_write_nothing(self) -> None:
        there = begin()
        before = list(there.objects.writes)
        for _ in range(3):
            there.rotation().check()
        assert there.objects.writes == before

    def test_without_configurations_the_certificate_is_created_and_one_warning_each_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        there = World()
        rotation = there.rotation()
        rotation.check()
        rotation.check()
        assert there.objects.secret("guard-tls")
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            f"{kind} guard not found; cannot set caBundle" for kind in KINDS
        ]

    def test_a_configuration_that_comes_later_is_given_the_bundle(self) -> None:
        there = World()
        rotation = there.rotation()
        rotation.check()
        there.objects.add_configuration(KINDS[0], {"url": "https://guard.example.com/mutate"})
        rotation.check()
        assert there.objects.bundle() == there.objects.secret("guard-ca")["tls.crt"]


def delete(name: str) -> Callable[[World], None]:
    def remove(there: World) -> None:
        del there.objects.stored["Secret", name]

    return remove


def garble(name: str, key: str, text: str = "Z2FyYmFnZQ==") -> Callable[[World], None]:
    def spoil(there: World) -> None:
        there.objects.edit("Secret", name)["data"][key] = text

    return spoil


def put(name: str, certificate: bytes, key: bytes) -> Callable[[World], None]:
    def replace(there: World) -> None:
        data = there.objects.edit("Secret", name)["data"]
        data["tls.crt"], data["tls.key"] = (base64.b64encode(pem).decode() for pem in (certificate, key))

    return replace


def foreign(there: World) -> None:
    """Somebody else's certificate, good in itself."""
    stranger = issue(create_authority(there.now, timedelta(days=1)), NAME, there.now, timedelta(hours=1))
    put("guard-tls", stranger.certificate_pem, stranger.key_pem)(there)


def misname(there: World) -> None:
    held = there.objects.secret("guard-ca")
    pair = issue(read_pair(held["tls.crt"], held["tls.key"]), "other.guard.svc", there.now, timedelta(hours=1))
    put("guard-tls", pair.certificate_pem, pair.key_pem)(there)


def demote(there: World) -> None:
    """An authority that is none."""
    serving = there.objects.secret("guard-tls")
    put("guard-ca", serving["tls.crt"], serving["tls.key"])(there)


def strip(there: World) -> None:
    there.objects.edit("Secret", "guard-tls")["data"] = None


def blank(there: World) -> None:
    for kind in KINDS:
        del there.objects.edit(kind, "guard")["webhooks"][1]["clientConfig"]["caBundle"]


def distrust(there: World) -> None:
    stranger = create_authority(there.now, timedelta(days=1)).certificate_pem
    there.objects.edit(KINDS[1], "guard")["webhooks"][0]["clientConfig"]["caBundle"] = base64.b64encode(
        stranger
    ).decode()


def lose_everything(there: World) -> None:
    for one in (delete("guard-ca"), delete("guard-tls"), blank, distrust):
        one(there)


INJURIES: dict[str, Callable[[World], None]] = {
    "serving Secret deleted": delete("guard-tls"),
    "authority Secret deleted": delete("guard-ca"),
    "serving key garbled": garble("guard-tls", "tls.key"),
    "serving certificate garbled": garble("guard-tls", "tls.crt"),
    "serving bundle garbled": garble("guard-tls", "ca.crt"),
    "serving data is no base64": garble("guard-tls", "tls.key", "%"),
    "serving Secret empty": strip,
    "authority key garbled": garble("guard-ca", "tls.key"),
    "authority certificate garbled": garble("guard-ca", "tls.crt"),
    "another's certificate": foreign,
    "a certificate for another name": misname,
    "an authority that is none": demote,
    "caBundle blanked": blank,
    "caBundle of another": distrust,
    "everything lost": lose_everything,
}


@pytest.mark.parametrize("injury", INJURIES.values(), ids=INJURIES.keys())
def test_one_pass_repairs_damaged_objects(injury: Callable[[World], None]) -> None:
    there = begin(100.0)
    injury(there)
    there.rotation().check()
    serving = there.objects.secret("guard-tls")
    pair = read_pair(serving["tls.crt"], serving["tls.key"])
    assert names(pair.certificate) == (NAME,)
    there.served = [(serving["tls.crt"], 0.0)]
    there.known = [(there.objects.bundle(kind, index), 0.0) for kind in KINDS for index in (0, 1)]
    assert len({bundle for bundle, _ in there.known}) == 1
    assert serving["ca.crt"] == there.known[0][0]
    assert there.failures() == []


@pytest.mark.parametrize("injury", INJURIES.values(), ids=INJURIES.keys())
def test_after_a_repair_and_some_time_one_authority_is_trusted_and_nothing_more_is_written(
    injury: Callable[[World], None],
) -> None:
    there = begin(100.0)
    injury(there)
    settle(there, 2 * SETTINGS.propagation)
    assert signers(there) == 1
    before = list(there.objects.writes)
    settle(there, SETTINGS.propagation)
    assert there.objects.writes == before


@pytest.mark.parametrize("beyond", [SETTINGS.lifetime, SETTINGS.ca_lifetime])
def test_one_pass_repairs_certificates_that_expired_without_a_controller(beyond: float) -> None:
    there = begin(beyond + 10.0)
    there.rotation().check()
    there.served = [(there.objects.secret("guard-tls")["tls.crt"], 0.0)]
    there.known = [(there.objects.bundle(), 0.0)]
    assert there.failures() == []


def test_a_certificate_is_renewed_at_two_thirds_of_its_life_by_the_same_authority() -> None:
    there = begin()
    first = there.objects.secret("guard-tls")
    settle(there, SETTINGS.lifetime * 2 / 3 - TICK)
    assert there.objects.secret("guard-tls") == first
    settle(there, SETTINGS.trust_seconds + 2 * TICK)
    second = there.objects.secret("guard-tls")
    assert second["tls.crt"] != first["tls.crt"]
    assert second["ca.crt"] == first["ca.crt"]


def test_at_two_thirds_of_its_life_the_authority_is_followed_step_by_step() -> None:
    there = begin(SETTINGS.ca_lifetime * 2 / 3 - SETTINGS.lifetime / 3)
    rotation = there.rotation()
    rotation.check()
    old = there.objects.bundle()
    seen: list[tuple[int, str]] = []
    while there.seconds < SETTINGS.ca_lifetime:
        rotation.check()
        bundle, serving = there.objects.bundle(), there.objects.secret("guard-tls")["tls.crt"]
        trusted = write_bundle(one for one in read_bundle(bundle) if one in read_bundle(old))
        there.served, there.known = [(serving, 0.0)], [(trusted, 0.0)]
        step = (signers(there), "old" if not there.failures() else "new")
        if seen[-1:] != [step]:
            seen.append(step)
        there.seconds += TICK
    assert seen == [(1, "old"), (2, "old"), (2, "new"), (1, "new")]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_happens_to_the_secrets_and_no_change_of_leaders_loses_a_request(seed: int) -> None:
    there = begin()
    there.chance.seed(seed)
    rotation = there.rotation()
    there.spread()
    secrets = [injury for injury in INJURIES if "Secret" in injury or "garbled" in injury]
    authorities = set()
    while there.seconds < 1.5 * SETTINGS.ca_lifetime:
        there.seconds += TICK
        if there.chance.random() < 0.01 and there.objects.secret("guard-tls"):
            INJURIES[there.chance.choice(secrets)](there)
        if there.chance.random() < 0.01:
            rotation = there.rotation()
        rotation.check()
        there.spread()
        assert there.failures() == []
        authorities.add(there.objects.secret("guard-ca")["tls.crt"])
    assert len(authorities) >= 3


class TestTheOldAuthority:
    """What was signed by it may be served for longer than anybody thought."""

    def test_is_trusted_for_as_long_as_a_fresh_connection_meets_its_certificate(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        there = begin(100.0)
        delete("guard-ca")(there)
        stale = [True]

        def meet(_address: Address, _bundle: bytes) -> None:
            if stale[0]:
                raise ProbeError(Trouble.UNTRUSTED, "unable to get local issuer certificate")

        caplog.set_level(logging.WARNING)
        settle(there, 10 * SETTINGS.propagation, probe=meet)
        assert signers(there) == 2
        (told,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert told.getMessage().endswith("still serves a certificate of a previous CA; keeping that CA in caBundle")
        stale[0] = False
        settle(there, 2 * SETTINGS.propagation, probe=meet)
        assert signers(there) == 1

    def test_is_looked_for_at_every_address_of_the_configurations(self) -> None:
        there = begin(100.0)
        there.objects.add_configuration(KINDS[0], {"url": "https://guard.example.com/mutate"})
        there.objects.add_configuration(
            KINDS[1], {"url": "https://guard.example.com:9443/validate"}, {"service": {"name": "w", "namespace": "n"}}
        )
        there.rotation().check()
        delete("guard-ca")(there)
        settle(there, 2 * SETTINGS.propagation)
        assert set(there.probed) == {
            Address("guard.example.com", 443),
            Address("guard.example.com", 9443),
            Address("w.n.svc", 443),
        }

    def test_is_no_longer_waited_for_by_a_leader_that_did_not_look_for_a_while(self) -> None:
        there = begin(100.0)
        delete("guard-ca")(there)
        rotation = there.rotation()
        rotation.check()
        there.seconds += 10 * SETTINGS.propagation  # another replica led, and everything happened again
        rotation.check()
        assert signers(there) == 2

    def test_of_which_there_can_be_many_has_a_bound(self) -> None:
        there = begin()
        rotation = there.rotation()
        for _ in range(MOST_PREVIOUS + 4):
            delete("guard-ca")(there)
            rotation.check()
        assert signers(there) == MOST_PREVIOUS + 1


def test_a_write_over_something_that_changed_meanwhile_is_a_conflict_and_the_next_pass_makes_it_right() -> None:
    there = begin(100.0)
    there.objects.stored.pop(("Secret", "guard-tls"))
    blank(there)
    rotation = there.rotation()
    read = there.objects.get

    def read_early(*args: object, **more: object) -> object:
        found = read(*args, **more)  # type: ignore[arg-type]  # passed on
        if args[0] in CONFIGURATIONS:
            there.objects.edit(found["kind"], "guard")
        return found

    there.objects.get = read_early  # type: ignore[method-assign, assignment]  # somebody writes right after each look
    with pytest.raises(WriteConflict):
        rotation.check()
    there.objects.get = read  # type: ignore[method-assign]
    rotation.check()
    assert there.objects.secret("guard-tls")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lifetime": 3601.0}, "--certificate-lifetime must not be longer than --ca-lifetime"),
        ({"propagation": 350.0}, "--certificate-lifetime must be longer than four times --certificate-propagation"),
    ],
)
def test_lifetimes_that_leave_no_time_to_rotate_are_refused(changes: dict[str, float], said: str) -> None:
    given = {name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}
    with pytest.raises(ValueError, match=f"^{said}$"):
        CertificateSettings(**{**given, **changes})
