"""A session with one API server: urllib3's connections and the Authorization header."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import urllib3
from kubernetes.client import ApiClient

from app.kube.config import ConnectionSettings
from app.kube.errors import Unreachable

_log = logging.getLogger(__name__)
_REFRESH_SECONDS = 10.0
_CONNECT_SECONDS = 5.0


class Session:
    """One connection pool with current credentials.

    `load` returns the configuration. It is called again after a 401 and after a failed TLS handshake, so that new
    client certificates of exec plugins and changed kubeconfigs take effect, also those with another CA.
    """

    def __init__(self, load: Callable[[], ConnectionSettings], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._use(load())

    def send(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: Iterable[bytes] | None,
        timeout: float,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """The response to a request for `target` (path and query), with any status.

        `timeout` in seconds limits connecting, sending and waiting for the response; with `stream` it limits each wait
        for more of the body, which is not read unless it explains a failure. Raises Unreachable.
        """
        try:
            response = self._pools.urlopen(
                method,
                self._host + target,
                headers={**headers, **self._authorization()},
                body=body,
                timeout=urllib3.Timeout(total=timeout, connect=min(timeout, _CONNECT_SECONDS)),
                preload_content=not stream,
            )
            if stream and response.status >= 300:
                response.read(cache_content=True)
        except urllib3.exceptions.HTTPError as error:
            if isinstance(error, urllib3.exceptions.SSLError):
                self.renew()  # the kubeconfig may name the new CA by now; the next call uses it
            raise Unreachable(f"{self.name} did not answer: {error}") from error
        return response

    @property
    def name(self) -> str:
        """The address of the API server, with the context of the kubeconfig that names it: a proxy may serve many."""
        context = self._configuration.context_name
        return f"{self._host} (context {context})" if context else self._host

    def renew(self) -> bool:
        """Load the configuration again. False if that cannot help: it was just done, or it fails."""
        with self._lock:
            if self._clock() - self._loaded < _REFRESH_SECONDS:
                return False
            try:
                self._use(self._load())
            except Exception as error:  # programs, networks and files raise different errors
                _log.warning("refreshing the API server credentials failed: %s", error)
                return False
            return True

    def close(self) -> None:
        """Close the idle connections."""
        self._pools.clear()

    def _use(self, configuration: ConnectionSettings) -> None:
        self._header = _read_header(configuration)
        self._configuration = configuration
        self._host: str = configuration.host
        self._pools: urllib3.PoolManager = ApiClient(configuration).rest_client.pool_manager
        self._loaded = self._refreshed = self._clock()

    def _authorization(self) -> dict[str, str]:
        """The header, at most 10 s old, because the package's hook may run a program at each call."""
        due = self._clock() - self._refreshed >= _REFRESH_SECONDS
        # While one thread refreshes, other threads use the current header.
        if due and self._lock.acquire(blocking=False):
            try:
                self._refreshed = self._clock()
                self._header = _read_header(self._configuration)
            except Exception:
                _log.warning("refreshing the API server credentials failed; using the previous ones", exc_info=True)
            finally:
                self._lock.release()
        return self._header


def _read_header(configuration: ConnectionSettings) -> dict[str, str]:
    settings: Iterable[Any] = configuration.auth_settings().values()
    # A token file often ends in a newline, which HTTP does not allow in a header.
    return {setting["key"]: setting["value"].strip() for setting in settings}
