"""A simulated API server, at the place of the HTTP transport: app.kube runs on it unchanged.

It does what the real one was seen to do, as far as the controller and other clients use it; tests/e2e/test_model_replay
runs the same sequences on both. It does not validate objects, calls no webhooks, and collects no garbage.
"""

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Unpack
from urllib.parse import parse_qs, unquote, urlsplit

import urllib3
from jsonpatch import JsonPatch, JsonPatchConflict, JsonPatchTestFailed

from app.kube.events import EVENT
from app.kube.resources import (
    CONFIG_MAPS,
    EMITTED,
    HTTP_ROUTES,
    LEASES,
    NAMESPACES,
    REPORTS,
    SERVICE_ENTRIES,
    Resource,
)
from tests.model.fields import Object
from tests.model.sessions import Anonymous, Parts
from tests.model.storage import Change, Place, Refused, Storage, Stored

SERVED = (SERVICE_ENTRIES, *EMITTED.values(), HTTP_ROUTES, NAMESPACES, LEASES, CONFIG_MAPS, *REPORTS, EVENT)
JSON_PATCH, APPLY_PATCH = "application/json-patch+json", "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, taken apart."""

    method: str
    resource: Resource
    namespace: str
    name: str
    query: Mapping[str, str]
    content_type: str
    body: Any

    @property
    def place(self) -> Place:
        """The object that it is about; a create has its name in the body."""
        return self.resource, self.namespace, self.name or self.body["metadata"]["name"]


class ApiServer:
    """Answers requests. `absent` are the resources of which the CRD is not installed."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.absent: set[Resource] = {REPORTS[1]}

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Return the status and the body of a response."""
        try:
            return 200, self._carry_out(request)
        except Refused as error:
            return error.status, status(error)

    def _carry_out(self, request: Request) -> bytes:
        if request.resource in self.absent:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if request.method == "GET":
            return self._read(request)
        write = {"POST": self._create, "PUT": self._replace, "PATCH": self._patch, "DELETE": self._delete}
        return encoded(write[request.method](request).manifest)

    def _read(self, request: Request) -> bytes:
        if request.name:
            return encoded(self.storage.at(request.place).manifest)
        if request.query.get("watch"):
            return b"".join(self._watch(request))
        return encoded(self._list(request))

    def _list(self, request: Request) -> Object:
        found = [one for one in self.storage.all(request.resource, request.namespace) if _selected(one, request.query)]
        version, start = str(self.storage.version), 0
        if token := request.query.get("continue"):
            version, start = json.loads(base64.b64decode(token))
            if int(version) < self.storage.compacted:
                raise Refused(410, "Expired", "The provided continue parameter is too old")
            found = self._as_of(request, int(version))
        end = start + int(request.query.get("limit") or len(found) + 1)
        more = base64.b64encode(json.dumps([version, end]).encode()).decode() if end < len(found) else ""
        metadata = {"resourceVersion": version, "continue": more}
        return {"kind": "List", "metadata": metadata, "items": [one.manifest for one in found[start:end]]}

    def _as_of(self, request: Request, version: int) -> list[Stored]:
        """Return the objects of a list as they were."""
        found = {one.place: one for one in self.storage.all(request.resource, request.namespace)}
        for change in reversed(self.storage.since(request.resource, version)):
            found.pop(change.stored.place, None)
            if before := self._before(change):
                found[before.place] = before
        present = (found[place] for place in sorted(found, key=lambda place: place[1:]))
        return [one for one in present if _selected(one, request.query) and request.namespace in {"", one.place[1]}]

    def _before(self, change: Change) -> Stored | None:
        if change.type == "ADDED":
            return None
        past = (one for one in reversed(self.storage.history) if one.stored.place == change.stored.place)
        earlier = (one.stored for one in past if one.stored.version < change.stored.version)
        return next(earlier, None) or (change.stored if change.type == "DELETED" else None)

    def _watch(self, request: Request) -> Iterator[bytes]:
        """Yield what has happened since a version; the stream ends there, as it would after its timeout."""
        try:
            changes = self.storage.since(request.resource, int(request.query["resourceVersion"]))
        except Refused as error:
            yield encoded({"type": "ERROR", "object": json.loads(status(error))}) + b"\n"
            return
        for change in changes:
            yield encoded({"type": change.type, "object": change.stored.manifest}) + b"\n"
        bookmark = {"metadata": {"resourceVersion": str(self.storage.version)}}
        yield encoded({"type": "BOOKMARK", "object": bookmark}) + b"\n"

    def _create(self, request: Request) -> Stored:
        self._check_namespace(request)
        return self.storage.create(request.place, request.query["fieldManager"], request.body)

    def _replace(self, request: Request) -> Stored:
        return self.storage.update(request.place, request.query["fieldManager"], request.body)

    def _patch(self, request: Request) -> Stored:
        if request.content_type == APPLY_PATCH:
            self._check_namespace(request)
            force = request.query["force"] == "true"
            return self.storage.apply(request.place, request.query["fieldManager"], request.body, force=force)
        current = self.storage.at(request.place).manifest
        try:
            wanted = JsonPatch(request.body).apply(current)
        except (JsonPatchConflict, JsonPatchTestFailed) as error:
            raise Refused(422, "Invalid", str(error)) from None
        return self.storage.update(request.place, request.query["fieldManager"], wanted)

    def _delete(self, request: Request) -> Stored:
        return self.storage.delete(request.place, request.body.get("preconditions") or {})

    def _check_namespace(self, request: Request) -> None:
        if request.place in self.storage.objects or not request.resource.namespaced:
            return
        namespace = self.storage.at((NAMESPACES, "", request.namespace))
        if namespace.deleted:
            message = f"namespace {request.namespace} is being terminated: no new content can be created"
            raise Refused(403, "Forbidden", message)


class Transport(Anonymous):
    """An API server in the place of app.kube.session.Session."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def send(self, method: str, target: str, **parts: Unpack[Parts]) -> urllib3.BaseHTTPResponse:
        """Answer a request."""
        content = b"".join(parts["body"] or ())
        code, found = self._server.answer(parsed(method, target, parts["headers"], content))
        return response(code, found, stream=parts.get("stream", False) and code < 300)


def parsed(method: str, target: str, headers: Mapping[str, str], content: bytes) -> Request:
    """Take a request apart."""
    url = urlsplit(target)
    parts = [unquote(part) for part in url.path.strip("/").split("/")]
    api_version, rest = ("/".join(parts[1:3]), parts[3:]) if parts[0] == "apis" else (parts[1], parts[2:])
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = next(each for each in SERVED if (each.api_version, each.plural) == (api_version, rest[0]))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    name = rest[1] if len(rest) > 1 else ""
    body = json.loads(content) if content else {}
    return Request(method, resource, namespace, name, query, headers.get("Content-Type", ""), body)


def response(code: int, content: bytes, *, stream: bool = False) -> urllib3.HTTPResponse:
    """Return a response as urllib3 does."""
    return urllib3.HTTPResponse(io.BytesIO(content), status=code, preload_content=not stream)


def status(error: Refused) -> bytes:
    """Return the body that explains an error."""
    found = {"kind": "Status", "status": "Failure", "code": error.status, "reason": error.reason, "message": str(error)}
    return encoded(found)


def encoded(value: object) -> bytes:
    """Encode JSON."""
    return json.dumps(value).encode()


def _selected(stored: Stored, query: Mapping[str, str]) -> bool:
    label, _, value = query.get("labelSelector", "").partition("=")
    name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return (not label or stored.labels.get(label) == value) and name in {"", stored.place[2]}
