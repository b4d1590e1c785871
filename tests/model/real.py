"""A real API server in the place of the simulated one: a watch ends as soon as it has delivered what has happened."""

import io
from functools import partial
from pathlib import Path
from typing import Unpack

import urllib3

from app.kube import config
from app.kube.session import Session
from tests.model.sessions import Parts

QUIET_SECONDS = 0.25
"""A watch that delivers nothing for so long has delivered everything."""


class RealServer:
    """The session with the API server of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._session = Session(partial(config.load, str(kubeconfig), 8))

    def send(self, method: str, target: str, **parts: Unpack[Parts]) -> urllib3.BaseHTTPResponse:
        """Send a request."""
        stream = parts.get("stream", False)
        if stream:
            parts["timeout"] = QUIET_SECONDS
        found = self._session.send(method, target, **parts)
        return _until_quiet(found) if stream and found.status < 300 else found

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _until_quiet(found: urllib3.BaseHTTPResponse) -> urllib3.HTTPResponse:
    content = b""
    try:
        while chunk := found.read1(1 << 16):
            content += chunk
    except urllib3.exceptions.ReadTimeoutError:
        pass
    finally:
        found.close()
    return urllib3.HTTPResponse(io.BytesIO(content), status=200, preload_content=False)
