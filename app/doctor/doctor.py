"""The doctor: checks an installation as the API server sees it, and disables its webhooks on request.

The checks are in `diagnosis`, the meaning of the API server's error messages in `causes`. Doctor writes nothing unless
`disable` or `enable` is called.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from app.certificates.probe import Address, ProbeError, probe
from app.certificates.webhookconfig import address, bundle, disabling, enabling, is_disabled, service, webhooks
from app.core.cel.admission_policy import MUTATING as MUTATING_POLICY
from app.core.cel.admission_policy import REFUSE, REPAIR, WARN
from app.core.cel.admission_policy import VALIDATING as VALIDATING_POLICY
from app.core.resources.service_entry import ADMISSION_GROUP, MANAGER, VERSIONS
from app.doctor.causes import Cause
from app.doctor.diagnosis import (
    Check,
    DryRun,
    State,
    Surroundings,
    judge_change,
    judge_connection,
    judge_lease,
    judge_refusal,
)
from app.kube.apply import list_all, locked
from app.kube.client import Access, Client, Object
from app.kube.errors import ApiError, ConfigError, Forbidden, NotFound, WriteConflict
from app.kube.resources import CONFIGURATIONS, LEASES, MUTATING, SERVICE_ENTRIES, Resource
from app.settings import LEASE_NAME

SERVICES = Resource("", "v1", "services", "Service")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
BINDINGS = tuple(
    (Resource(ADMISSION_GROUP, version, f"{policy.lower()}bindings", f"{policy}Binding", namespaced=False), name)
    for policy, name, versions in (
        (VALIDATING_POLICY, REFUSE, ("v1",)),
        (VALIDATING_POLICY, WARN, ("v1",)),
        (MUTATING_POLICY, REPAIR, VERSIONS),
    )
    for version in versions
)
"""The bindings that put the policies of the backstop into force."""
NO_RIGHT_TO_READ = "This check is optional: the dry runs show whether the guard works."
SERVICE_LABEL = "kubernetes.io/service-name"
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Target:
    """The installation, the namespace of the dry runs, and the address of a webhook if `connect` names one.

    `in_pod` says that this process runs in a pod of the cluster, which reaches Services by their cluster IP.
    """

    namespace: str
    configuration: str
    probe_namespace: str
    connect: tuple[str, int] | None = None
    in_pod: bool = False


class DoctorError(Exception):
    """A call to the API server failed, or had no effect; the message is one sentence."""


def open_client(access: Access) -> Client:
    """Return a client for the cluster that the command line names. Raises DoctorError."""
    try:
        return Client.from_access(access, connections=1)
    except ConfigError as error:
        raise DoctorError(str(error)) from None


class Doctor:
    """Looks at one installation."""

    def __init__(self, client: Client, place: Target, step: Callable[[str], object] = str) -> None:
        """Take the API server, the installation, and a function that is told each step."""
        self._client = client
        self._place = place
        self._step = step
        self._cluster_ips: dict[str, str] = {}

    def findings(self) -> Iterator[Check]:
        """Run all checks, cheapest first; the dry runs, which are the proof, come last. Raises DoctorError."""
        try:
            yield from self._examine()
        except ApiError as error:
            raise DoctorError(f"calling the API server failed: {error}") from None

    def _examine(self) -> Iterator[Check]:
        self._step(f"reading the installation from {self._client.cluster}")
        yield from self._rivals()
        configurations = dict[Resource, Object]()
        repairs = any(name == REPAIR for _, name in self._bindings())
        for resource in CONFIGURATIONS:
            found = self._read(resource, None, self._place.configuration)
            if isinstance(found, Check):
                if not (repairs and resource is MUTATING):
                    yield found
            else:
                configurations[resource] = found
                yield from _look(resource, found)
        asked = [webhook for configuration in configurations.values() for webhook in webhooks(configuration)]
        for known in dict.fromkeys(filter(None, map(service, asked))):
            yield self._endpoints(*known)
        yield from self._connections(asked)
        called = next((address(webhook).host for webhook in asked), "")
        around = Surroundings([webhook["name"] for webhook in asked], repairs, called, self._place.probe_namespace)
        changed = judge_change(self._rehearse(resolution="NONE"), around)
        refused = judge_refusal(self._rehearse(resolution="NONE", addresses=["198.51.100.0/24"]), around)
        yield from dict.fromkeys([changed, refused])  # if both failed for one reason, report it once

    def _rivals(self) -> Iterator[Check]:
        """Look for other installations: only one of several writes."""
        try:
            leases = list(list_all(self._client, LEASES, field_selector=f"metadata.name={LEASE_NAME}"))
        except Forbidden as error:
            said = f"cannot list Leases to find other installations: {error.message}"
            yield Check(State.UNKNOWN, said, NO_RIGHT_TO_READ)
            return
        others = [lease for lease in leases if lease["metadata"]["namespace"] != self._place.namespace]
        for lease in others:
            if finding := judge_lease(lease, datetime.now(UTC)):
                yield finding

    def _read(self, resource: Resource, namespace: str | None, name: str) -> Object | Check:
        try:
            return self._client.get(resource, namespace, name)
        except NotFound:
            remedy = "Install the chart again, or name the right configuration with --webhook-configuration."
            return Check(
                State.PROBLEM, f"{resource.kind} {name} not found: the API server does not call the webhook", remedy
            )
        except Forbidden as error:
            return Check(State.UNKNOWN, f"{resource.kind} {name} cannot be read: {error.message}", NO_RIGHT_TO_READ)

    def _bindings(self) -> Iterator[tuple[Resource, str]]:
        """Yield the existing policy bindings of the guard, as far as they can be read."""
        for resource, name in BINDINGS:
            try:
                self._client.get(resource, None, name)
            except (NotFound, Forbidden):
                continue
            yield resource, name

    def _endpoints(self, namespace: str, name: str) -> Check:
        """Count the ready endpoints of a Service."""
        try:
            spec = self._client.get(SERVICES, namespace, name)["spec"]
            slices = list(list_all(self._client, SLICES, namespace, label_selector=f"{SERVICE_LABEL}={name}"))
        except NotFound:
            said = f"Service {namespace}/{name}: {Cause.NO_SERVICE.words}"
            return Check(State.PROBLEM, said, Cause.NO_SERVICE.remedy(""))
        except Forbidden as error:
            said = f"cannot read Service {namespace}/{name} and its EndpointSlices: {error.message}"
            return Check(State.UNKNOWN, said, NO_RIGHT_TO_READ)
        if spec.get("type") == "ExternalName":
            return Check(State.OK, f"Service {namespace}/{name} is an alias of {spec['externalName']}")
        self._cluster_ips[f"{name}.{namespace}.svc"] = spec.get("clusterIP") or ""
        ready = _ready(slices)
        if not ready:
            said = f"Service {namespace}/{name}: {Cause.NO_ENDPOINTS.words}"
            return Check(State.PROBLEM, said, Cause.NO_ENDPOINTS.remedy(""))
        return Check(State.OK, f"ready webhook pods behind Service {namespace}/{name}: {ready}")

    def _connections(self, asked: list[Object]) -> Iterator[Check]:
        """Open a new TLS connection with each current caBundle; a wrong one shows only here."""
        for where, authorities in dict.fromkeys(
            (address(webhook), bundle(webhook)) for webhook in asked if bundle(webhook)
        ):
            shown = self._reached(where)
            self._step(f"connecting to {shown}")
            try:
                probe(shown, authorities)
            except ProbeError as error:
                yield judge_connection(str(shown), where.host, error.trouble, str(error))
            else:
                yield judge_connection(str(shown), where.host, None, "")

    def _reached(self, where: Address) -> Address:
        """Return how the webhook is reached from here: in a pod by the cluster IP, which needs no DNS."""
        if self._place.connect:
            return Address(*self._place.connect, name=where.host)
        cluster_ip = self._cluster_ips.get(where.host) if self._place.in_pod else None
        return Address(cluster_ip, where.port, name=where.host) if cluster_ip else where

    def _rehearse(self, **spec: object) -> DryRun:
        """Send an entry as a dry run. Its host is below example.com, which is reserved."""
        ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        entry = {
            "apiVersion": SERVICE_ENTRIES.api_version,
            "kind": SERVICE_ENTRIES.kind,
            "metadata": {"name": f"{MANAGER}-doctor", "namespace": self._place.probe_namespace},
            "spec": {
                "hosts": ["doctor.serviceentry-guard.example.com"],
                "location": "MESH_EXTERNAL",
                "ports": ports,
                **spec,
            },
        }
        self._step(f"creating a ServiceEntry in namespace {self._place.probe_namespace} as a dry run")
        try:
            seen = self._client.rehearse(SERVICE_ENTRIES, entry)
        except ApiError as error:
            return DryRun(error.status, message=error.message)
        return DryRun(201, seen.object["spec"].get("resolution", "NONE"), tuple(seen.warnings))

    def disable(self) -> Iterator[str]:
        """Stop the API server's calls to the webhooks, and yield a line for each change; raises DoctorError."""
        try:
            yield from self._disable()
        except ApiError as error:
            raise DoctorError(f"the webhooks cannot be disabled: {error}") from None

    def enable(self) -> Iterator[str]:
        """Undo `disable`, except for the policy bindings, which the leader restores; raises DoctorError."""
        try:
            for resource in CONFIGURATIONS:
                yield self._change(resource, enabling, "enabled")
        except ApiError as error:
            raise DoctorError(f"the webhooks cannot be enabled: {error}") from None

    def _disable(self) -> Iterator[str]:
        for resource in CONFIGURATIONS:
            yield self._change(resource, disabling, "disabled: the API server no longer calls it")
        for resource, name in self._bindings():
            self._client.delete(resource, None, name)
            yield f"{resource.kind} {name} deleted; a running controller with --backstop creates it again"

    def _change(self, resource: Resource, patch_of: Callable[[Object], list[Object]], now: str) -> str:
        """Patch a configuration, and read it again to see that the change stayed."""
        name = self._place.configuration
        for _ in range(ATTEMPTS):
            try:
                found = self._client.get(resource, None, name)
                if patch := patch_of(found):
                    self._client.json_patch(resource, None, name, locked(found, patch))
                    continue
            except NotFound:
                return f"{resource.kind} {name} not found: the API server calls no webhook of it"
            except WriteConflict:
                time.sleep(0.2)
                continue
            return f"{resource.kind} {name} {now}"
        raise WriteConflict(
            409,
            "WriteConflict",
            f"{resource.kind} {name} was reverted right after the change; stop the GitOps tool that does it",
        )


def _look(resource: Resource, configuration: Object) -> Iterator[Check]:
    """Check one webhook configuration."""
    name = f"{resource.kind} {configuration['metadata']['name']}"
    if not webhooks(configuration):
        yield Check(
            State.PROBLEM, f"{name} contains no webhooks: the API server calls none", "Install the chart again."
        )
    for webhook in webhooks(configuration):
        if is_disabled(webhook):
            said = f"{name} is disabled: the API server does not call webhook {webhook['name']}"
            yield Check(
                State.PROBLEM, said, "Run `serviceentry-guard doctor --enable` when the webhook may be called again."
            )
        elif not bundle(webhook) and service(webhook):
            said = f"{name}, webhook {webhook['name']}: {Cause.NO_BUNDLE.words}"
            yield Check(State.PROBLEM, said, Cause.NO_BUNDLE.remedy(""))
        else:
            yield Check(State.OK, f"{name} calls {address(webhook)}")


def _ready(slices: Iterable[Object]) -> int:
    endpoints = [endpoint for endpoint_slice in slices for endpoint in endpoint_slice.get("endpoints") or []]
    return sum(endpoint.get("conditions", {}).get("ready", True) for endpoint in endpoints)
