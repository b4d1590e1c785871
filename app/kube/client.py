"""Calls to the Kubernetes API: raw JSON in and out, every one with a time-out."""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Self
from urllib.parse import urlencode

import msgspec
import urllib3

from app.core.resources.service_entry import MANAGER
from app.kube import config
from app.kube.errors import ApiError, Fenced, Unreachable, from_response
from app.kube.pages import ListPage
from app.kube.resources import Resource
from app.kube.session import Session
from app.kube.stream import WatchStream

_SILENCE_SECONDS = 10.0

Object = dict[str, Any]
Observer = Callable[[str, int, float], None]
"""Receives each call: the verb, the status code (0: no response) and the seconds until the response began."""

Context = Callable[[], Mapping[str, str]]
"""Returns headers for each call, such as those of a trace."""

_JSON = "application/json"
_METADATA = "application/json;as={kind};g=meta.k8s.io;v=v1"
"""Asks for the metadata of objects instead of the objects."""
_AS_US = {"fieldManager": MANAGER}
_HEADERS = {"User-Agent": f"{MANAGER}/{version(MANAGER)}"}


@dataclass(frozen=True, slots=True)
class Access:
    """Which API server is called, and as whom: the flags that kubectl has too. None is what kubectl would use."""

    kubeconfig: str | None = None
    context: str | None = None
    user: str = ""
    """User to impersonate; empty: the kubeconfig's own."""
    timeout: float = 30.0
    """Seconds for one call."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The object that a create would have stored, and the warnings in the response."""

    object: Object
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    method: str
    path: str
    query: Mapping[str, str | int]
    body: Any = None
    content_type: str = "application/json"
    accept: str = _JSON

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Client:
    """The API server with one identity; safe for threads.

    Every method raises ApiError, in one of its forms. `timeout` is the total time of one call, in seconds.
    """

    def __init__(
        self,
        session: Session,
        *,
        observer: Observer | None = None,
        context: Context = dict,
        timeout: float = 30.0,
        user: str = "",
    ) -> None:
        self._session = session
        self._user = {"Impersonate-User": user} if user else {}
        self._context = context
        self._observer = observer
        self._timeout = timeout
        self._remaining: Callable[[], float] = lambda: math.inf

    @classmethod
    def from_kubeconfig(
        cls,
        path: str | None = None,
        *,
        observer: Observer | None = None,
        context: Context = dict,
        timeout: float = 30.0,
        connections: int = 32,
    ) -> Self:
        """A client for a kubeconfig; None: what kubectl would use, else the pod's service account.

        `connections` is the number of connections that are kept open; as many threads can call at the same time
        without new handshakes. Raises ConfigError.
        """
        session = Session(partial(config.load, path, connections))
        return cls(session, observer=observer, context=context, timeout=timeout)

    @classmethod
    def from_access(cls, access: Access, *, connections: int = 32) -> Self:
        """A client for the cluster that the command line names. Raises ConfigError."""
        session = Session(partial(config.load, access.kubeconfig, connections, access.context))
        return cls(session, timeout=access.timeout, user=access.user)

    @property
    def cluster(self) -> str:
        """The API server's address and the context of the kubeconfig, for people."""
        return self._session.name

    def fenced(self, remaining: Callable[[], float]) -> "Client":
        """Return this client for writes of the leader: `remaining` returns the seconds for which it still leads.

        At 0, no write starts and no body is sent, and a call waits no longer than that for the response. A write that
        does not start, or gets no response, for this reason raises Fenced.
        """
        fenced = Client(self._session, observer=self._observer, context=self._context, timeout=self._timeout)
        fenced._remaining = remaining
        fenced._user = self._user
        return fenced

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def get(self, resource: Resource, namespace: str | None, name: str, *, timeout: float | None = None) -> Object:
        return self._call(_Call("get", "GET", resource.path(namespace, name), {}), timeout)

    def list_page(  # noqa: PLR0913 - the parameters of the API
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        limit: int = 500,
        continue_: str = "",
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> ListPage:
        """Up to `limit` objects from the start or from where `continue_` points, as of `resource_version`.

        The API server leaves `apiVersion` and `kind` out of the items of its built-in types.
        """
        query: dict[str, str | int] = {
            "limit": limit,
            "continue": continue_,
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        parameters = {name: value for name, value in query.items() if value}
        accept = _accept(resource, "PartialObjectMetadataList")
        call = _Call("list", "GET", resource.path(namespace), parameters, accept=accept)
        return ListPage.parse(self._exchange(call, self._timeout).data)

    def watch(
        self, resource: Resource, resource_version: str, *, namespace: str | None = None, timeout_seconds: int
    ) -> WatchStream:
        """The changes after `resource_version`, bookmarks included, for `timeout_seconds`.

        A connection that is silent for 10 s longer than that counts as dead.
        """
        query: dict[str, str | int] = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
        }
        call = _Call("watch", "GET", resource.path(namespace), query, accept=_accept(resource, "PartialObjectMetadata"))
        return WatchStream(self._exchange(call, timeout_seconds + _SILENCE_SECONDS, stream=True))

    def create(self, resource: Resource, body: Object, *, timeout: float | None = None) -> Object:
        namespace, _ = _place(body)
        return self._call(_Call("create", "POST", resource.path(namespace), _AS_US, body), timeout)

    def rehearse(self, resource: Resource, body: Object, *, timeout: float | None = None) -> Rehearsal:
        """Create as a dry run: the request passes admission, and nothing is stored."""
        namespace, _ = _place(body)
        call = _Call("create", "POST", resource.path(namespace), {**_AS_US, "dryRun": "All"}, body)
        response = self._exchange(call, timeout or self._timeout)
        return Rehearsal(_decoded(response, call), [_warning(value) for value in response.headers.getlist("Warning")])

    def apply(self, resource: Resource, body: Object, *, force: bool = False) -> Object:
        """Server-side apply. `force` takes over fields of other managers; without it, they are a WriteConflict."""
        query, path = {**_AS_US, "force": str(force).lower()}, resource.path(*_place(body))
        return self._call(_Call("apply", "PATCH", path, query, body, "application/apply-patch+yaml"))

    def json_patch(self, resource: Resource, namespace: str | None, name: str, patch: Sequence[Object]) -> Object:
        """Apply a JSON Patch (RFC 6902)."""
        path = resource.path(namespace, name)
        return self._call(_Call("patch", "PATCH", path, _AS_US, patch, "application/json-patch+json"))

    def replace(self, resource: Resource, body: Object, *, timeout: float | None = None) -> Object:
        """Replace the object; an outdated `metadata.resourceVersion` in it is a WriteConflict."""
        return self._call(_Call("update", "PUT", resource.path(*_place(body)), _AS_US, body), timeout)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Delete the object. If a UID or resource version is given and does not match, it is a WriteConflict."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        present = {field: value for field, value in preconditions.items() if value is not None}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": present}
        self._call(_Call("delete", "DELETE", resource.path(namespace, name), {}, body))

    def _call(self, call: _Call, timeout: float | None = None) -> Object:
        return _decoded(self._exchange(call, timeout or self._timeout), call)

    def _exchange(self, call: _Call, timeout: float, *, stream: bool = False) -> urllib3.BaseHTTPResponse:
        response = self._send(call, timeout, stream)
        if response.status == 401 and self._session.renew():
            response.release_conn()
            response = self._send(call, timeout, stream)
        if 200 <= response.status < 300:
            return response
        raise from_response(response.status, response.data, response.headers.get("Retry-After"))

    def _send(self, call: _Call, timeout: float, stream: bool) -> urllib3.BaseHTTPResponse:
        given = {"Accept": call.accept, "Content-Type": call.content_type}
        headers = {**_HEADERS, **self._user, **self._context(), **given}
        body = None
        if call.method != "GET":
            timeout = min(timeout, self._time_left())
            content = msgspec.json.encode(call.body)
            headers["Content-Length"] = str(len(content))
            body = self._while_leading(content)
        started = time.monotonic()
        status = 0
        try:
            response = self._session.send(
                call.method, call.target, headers=headers, body=body, timeout=timeout, stream=stream
            )
            status = response.status
        except Unreachable as error:
            if body is not None and self._remaining() <= 0:  # the Lease has ended, whatever the cause
                raise Fenced("no response before this replica stopped leading") from error
            raise
        finally:
            if self._observer:
                self._observer(call.verb, status, time.monotonic() - started)
        return response

    def _time_left(self) -> float:
        remaining = self._remaining()
        if remaining <= 0:
            raise Fenced
        return remaining

    def _while_leading(self, content: bytes) -> Iterator[bytes]:
        # Connecting may have taken until after the end of the Lease. The API server never executes an incomplete
        # request.
        self._time_left()
        yield content


def _decoded(response: urllib3.BaseHTTPResponse, call: _Call) -> Object:
    try:
        return msgspec.json.decode(response.data, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(response.status, "NoJson", f"{call.path} did not return JSON: {error}") from error


def _accept(resource: Resource, metadata: str) -> str:
    return _METADATA.format(kind=metadata) if resource.metadata_only else _JSON


def _warning(header: str) -> str:
    """Return the text of a Warning header (RFC 9111): a code, an agent and a quoted string."""
    text = header.split(" ", 2)[-1].strip()
    return re.sub(r"\\(.)", r"\1", text.removeprefix('"').removesuffix('"'))


def _place(body: Object) -> tuple[str | None, str]:
    metadata = body["metadata"]
    return metadata.get("namespace"), metadata.get("name", "")
