"""Which authority and which serving certificate follow on those that are there; pure, with the time as an argument.

The order of a change of authorities is what loses no request: the new one is trusted beside the old one everywhere
before anything is signed by it, and the old one is trusted until nothing signed by it is served any more. When those
two moments have come is for the caller to say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.certificates.x509 import (
    Certificate,
    Pair,
    UnreadablePair,
    create_authority,
    is_authority,
    is_from,
    issue,
    lapse,
    names,
    read_bundle,
    read_pair,
    renewal,
    write_bundle,
)

CERTIFICATE, KEY, BUNDLE, PREVIOUS = "tls.crt", "tls.key", "ca.crt", "previous.crt"
"""Names in the Secrets: the first two in both, the bundle beside the serving certificate, the last in the other."""
MOST_PREVIOUS = 8
"""Former authorities that are trusted, at most: a bundle has to fit into an object, whatever happens."""

Data = Mapping[str, bytes]
"""Contents of a Secret; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The DNS name and the lifetimes of the certificates."""

    name: str
    authority_lifetime: timedelta
    serving_lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs, and the authorities before it that are still trusted."""

    signer: Pair
    previous: tuple[Certificate, ...] = ()

    @property
    def bundle(self) -> bytes:
        """The CA certificates that clients must trust, PEM."""
        return write_bundle([self.signer.certificate, *self.previous])

    @property
    def data(self) -> dict[str, bytes]:
        """As it is kept in its Secret."""
        return {
            CERTIFICATE: self.signer.certificate_pem,
            KEY: self.signer.key_pem,
            PREVIOUS: write_bundle(self.previous),
        }

    def alone(self) -> "Authority":
        """This authority, once nothing is served that is signed by an earlier one."""
        return replace(self, previous=())


@dataclass(frozen=True, slots=True)
class Succession:
    """The authority in force, and why it is a new one, if it is."""

    authority: Authority
    reason: str | None = None


def succeed(held: Data, trusted: Iterable[bytes], terms: Terms, now: datetime) -> Succession:
    """Return the authority of a Secret, or a new one if that is missing, invalid or due for renewal.

    `trusted` are the bundles that clients have now. If the Secret is lost, what is in there stays trusted: something
    that it signed is being served.
    """
    previous = read_bundle(held.get(PREVIOUS, b""))
    try:
        signer = read_pair(held.get(CERTIFICATE, b""), held.get(KEY, b""))
    except UnreadablePair as error:
        former = [
            certificate for bundle in (held.get(CERTIFICATE, b""), *trusted) for certificate in read_bundle(bundle)
        ]
        return _successor((*previous, *former), str(error) if held else "there was none", terms, now)
    reason = lapse(signer.certificate, now) if is_authority(signer.certificate) else "it may sign nothing"
    if not reason and now >= renewal(signer.certificate):
        reason = "two thirds of its life are over"
    if reason:
        return _successor((signer.certificate, *previous), reason, terms, now)
    return Succession(Authority(signer, previous))


def read_serving(held: Data, authority: Authority, terms: Terms, now: datetime) -> Pair:
    """Return the serving certificate of a Secret; raises Unreadable where no client would accept it."""
    if not held:
        raise UnreadablePair("there was none")
    pair = read_pair(held.get(CERTIFICATE, b""), held.get(KEY, b""))
    if reason := lapse(pair.certificate, now):
        raise UnreadablePair(reason)
    if terms.name not in names(pair.certificate):
        raise UnreadablePair(f"it is not for {terms.name}")
    if not any(
        is_from(pair.certificate, certificate) for certificate in (authority.signer.certificate, *authority.previous)
    ):
        raise UnreadablePair("it was not issued by a CA of the guard")
    return pair


def is_current(serving: Pair, authority: Authority) -> bool:
    """Say whether a serving certificate is from the authority in force, not from an earlier one."""
    return is_from(serving.certificate, authority.signer.certificate)


def due(serving: Pair, authority: Authority, now: datetime) -> str | None:
    """Return the reason to renew a valid serving certificate, None if it need not be renewed."""
    if not is_current(serving, authority):
        return "there is a new authority"
    return "two thirds of its life are over" if now >= renewal(serving.certificate) else None


def make_serving(authority: Authority, terms: Terms, now: datetime) -> Pair:
    """Create the next serving certificate."""
    return issue(authority.signer, terms.name, now, terms.serving_lifetime)


def serving_data(serving: Pair, authority: Authority) -> dict[str, bytes]:
    """Return a serving certificate as it is kept in its Secret."""
    return {CERTIFICATE: serving.certificate_pem, KEY: serving.key_pem, BUNDLE: authority.bundle}


def _successor(former: tuple[Certificate, ...], reason: str, terms: Terms, now: datetime) -> Succession:
    trusted = [
        certificate
        for certificate in dict.fromkeys(former)
        if is_authority(certificate) and not lapse(certificate, now)
    ]
    signer = create_authority(now, terms.authority_lifetime)
    return Succession(Authority(signer, tuple(trusted[:MOST_PREVIOUS])), reason)
