"""What the sessions of this package have in common: all of them stand in the place of app.kube.session.Session."""

from collections.abc import Iterable, Mapping
from typing import NotRequired, Protocol, TypedDict, Unpack

import urllib3


class Parts(TypedDict):
    """The parts of an HTTP request beside its method and target."""

    headers: Mapping[str, str]
    body: Iterable[bytes] | None
    timeout: float
    stream: NotRequired[bool]


class Sender(Protocol):
    """Sends requests to an API server."""

    def send(self, method: str, target: str, **parts: Unpack[Parts]) -> urllib3.BaseHTTPResponse: ...


class Anonymous:
    """A session without credentials and connections."""

    host = "https://simulated"

    def renew(self) -> bool:
        """Return False: there are no credentials to load."""
        return False

    def close(self) -> None:
        """Do nothing: there are no connections."""
