"""The backstop of some policy, applied to a namespace of its own, and what the API server then says to an entry."""

import copy
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from app.core.cel.admission_policy import MUTATING, Engine, backstop
from app.core.policy.model import GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.fields import JSON
from app.core.resources.service_entry import ADMISSION_GROUP
from app.kube.client import Client
from app.kube.errors import NotFound
from app.kube.resources import ADMISSION_POLICIES, Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.bed.require import require_resource, serves
from tests.cases import TODAY
from tests.e2e.team import NAMESPACES, SECONDS

ADMISSION_V1 = f"{ADMISSION_GROUP}/v1"
LABEL = "backstop"
NUMBERS = count(1)
DENIED = re.compile(r"ValidatingAdmissionPolicy '[^']+' with binding '[^']+' denied request: ")
WARNED = re.compile(r"299 - \"Validation failed for ValidatingAdmissionPolicy '[^']+' with binding '[^']+': ")


@dataclass(frozen=True)
class Reply:
    """What the API server says to an entry: the HTTP status, the object or Status, and the warnings of policies."""

    status: int
    body: Any
    warnings: tuple[str, ...]

    @property
    def resolution(self) -> str | None:
        """The resolution that would be stored; None if nothing is: policies change one after another."""
        found: str | None = self.body.get("spec", {}).get("resolution")
        return found

    @property
    def denial(self) -> str:
        """What a ValidatingAdmissionPolicy says, "" if it is not the one that refuses."""
        said = DENIED.split(str(self.body.get("message")))
        return said[1] if self.status == 403 and len(said) == 2 else ""


class Asker:
    """A connection over which entries are created as dry runs."""

    def __init__(self, control_plane: ControlPlane) -> None:
        address = urlsplit(control_plane.url)
        self._connection = HTTPSConnection(
            address.hostname or "", address.port, timeout=60, context=control_plane.tls()
        )

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def create(self, manifest: JSON, namespace: str, version: str = "v1") -> Reply:
        """Create an entry as a dry run in a namespace; metadata that the API server sets is left out."""
        metadata = {key: manifest["metadata"].get(key) for key in ("name", "annotations")}
        entry = {**manifest, "apiVersion": f"networking.istio.io/{version}", "metadata": metadata}
        return self._send("POST", f"{_path(version, namespace)}?dryRun=All", entry)

    def update(self, manifest: JSON) -> Reply:
        """Replace a stored entry as a dry run."""
        metadata = manifest["metadata"]
        return self._send("PUT", f"{_path('v1', metadata['namespace'])}/{metadata['name']}?dryRun=All", manifest)

    def _send(self, method: str, path: str, body: JSON) -> Reply:
        self._connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        warnings = response.headers.get_all("Warning") or []
        said = [WARNED.sub("", line).removesuffix('"').replace(r"\"", '"') for line in warnings if WARNED.match(line)]
        return Reply(response.status, json.loads(response.read()), tuple(said))


def engines(control_plane: ControlPlane) -> tuple[Engine, ...]:
    """What an API server can do of itself: before Kubernetes 1.36 it rejects and changes nothing."""
    return tuple(Engine) if serves(control_plane, MUTATING, ADMISSION_V1) else (Engine.VALIDATING,)


def require_engine(control_plane: ControlPlane, engine: Engine) -> None:
    """Leave the test out where the API server has not this engine."""
    if engine is Engine.NATIVE:
        require_resource(control_plane, MUTATING, ADMISSION_V1, "1.36")


def stored_policies(client: Client) -> Iterator[tuple[Resource, JSON]]:
    """All admission policies and their bindings, of the kinds that the API server has."""
    for resource in ADMISSION_POLICIES.values():
        with suppress(NotFound):
            for item in client.list_page(resource).items:
                yield resource, item


def _path(version: str, namespace: str) -> str:
    return f"/apis/networking.istio.io/{version}/namespaces/{namespace}/serviceentries"


def confined(objects: Iterable[JSON], label: str) -> Iterator[JSON]:
    """Rename objects and confine them to the namespaces with a label."""
    for one in objects:
        given = copy.deepcopy(one)
        given["metadata"]["name"] += f"-{label}"
        if "policyName" in given["spec"]:
            given["spec"]["policyName"] += f"-{label}"
            given["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {LABEL: label}}}
        yield given


def make_namespace(client: Client, name: str, label: str) -> None:
    """Create a namespace for the objects that are confined to a label."""
    metadata = {"name": name, "labels": {LABEL: label}}
    client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


@contextmanager
def in_force(control_plane: ControlPlane, client: Client, objects: Iterable[JSON], asker: Asker) -> Iterator[None]:
    """Have the API server enforce these objects for as long as this lasts.

    It takes them up in the order in which they came, a moment later, and those that refuse apart from those that
    change: one policy that is known to do both comes last, and until both have come an entry may be refused.
    """
    sentinel = f"sentinel-{next(NUMBERS)}"
    engine = engines(control_plane)[-1]
    last = confined(backstop(parse_policy(POLICY), engine), sentinel)
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, *last]})
    make_namespace(client, sentinel, sentinel)
    control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=manifest)
    try:
        if engine is Engine.NATIVE:
            wait_until(
                lambda: asker.create(entry(), sentinel).body.get("spec", {}).get("resolution") == "DNS",
                "it changes",
                SECONDS,
            )
        wait_until(lambda: asker.create(entry("*.x.example"), sentinel).denial != "", "it refuses", SECONDS)
        yield
    finally:
        control_plane.kubectl("delete", "--filename=-", stdin=manifest)


def entry(host: str = "api.example.com", **spec: Any) -> Any:
    """An entry that lacks its resolution, if nothing else is given."""
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    metadata = {"name": "api", "annotations": spec.pop("annotations", {})}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": metadata,
        "spec": {"hosts": [host], "ports": ports, **spec},
    }


def guard_policy(document: JSON) -> GuardPolicy:
    """Read a policy that leaves its identity out, as it applies on the day of the cases."""
    return parse_policy({**POLICY, **document}).on(TODAY)


POLICY = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
