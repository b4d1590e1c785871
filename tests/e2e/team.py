"""A team and its namespace: what it writes, and what it then sees in the cluster."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any, Self

from app.kube.client import Client, Object
from app.kube.errors import Forbidden
from app.kube.resources import Resource
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until

ISTIO = "networking.istio.io"
SERVICE_ENTRIES = Resource(ISTIO, "v1", "serviceentries", "ServiceEntry")
VIRTUAL_SERVICES = Resource(ISTIO, "v1", "virtualservices", "VirtualService")
DESTINATION_RULES = Resource(ISTIO, "v1", "destinationrules", "DestinationRule")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")

GUARDED = {"serviceentry-guard": "enforced"}
"""Labels of the namespaces that the webhook of these tests is registered for."""
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
HTTPS = {"number": 443, "name": "https", "protocol": "HTTPS"}
PROBE = "guard-probe"
SECONDS = 90.0
"""What is not there after this time does not come."""


@dataclass(frozen=True)
class Team:
    """One namespace of its own. Its hosts are its own too: a foreign claim in one test must not reach another."""

    control_plane: ControlPlane
    client: Client
    namespace: str

    @classmethod
    def create(
        cls, control_plane: ControlPlane, client: Client, name: str, labels: Mapping[str, str] | None = None
    ) -> Self:
        """Make the namespace; with the labels GUARDED, the webhook is asked from the first entry on."""
        metadata = {"name": name, "labels": dict(labels or {})}
        client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        return cls(control_plane, client, name)

    def host(self, label: str = "api") -> str:
        """A host that only this team uses; also what the VirtualService for it is called."""
        return f"{label}.{self.namespace}.example.com"

    def entry(self, name: str = "api", *, version: str = "v1", metadata: Object | None = None, **spec: Any) -> Object:
        """A ServiceEntry manifest; what is not given is host `api`, port 80/HTTP and resolution DNS."""
        spec = {"hosts": [self.host()], "ports": [HTTP], "resolution": "DNS", **spec}
        named = {"name": name, "namespace": self.namespace, **(metadata or {})}
        return {"apiVersion": f"{ISTIO}/{version}", "kind": "ServiceEntry", "metadata": named, "spec": spec}

    def foreign(self, name: str, host: str, **spec: Any) -> Object:
        """The manifest of a VirtualService for `host` as a person writes it."""
        http = [{"route": [{"destination": {"host": host}}], "timeout": "7s"}]
        metadata = {"name": name, "namespace": self.namespace}
        spec = {"hosts": [host], "http": http, **spec}
        return {"apiVersion": f"{ISTIO}/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}

    def kubectl(self, *arguments: str, manifest: Object | None = None, check: bool = True) -> CompletedProcess[str]:
        """Run kubectl in the namespace; a manifest is read from its standard input."""
        source = ["--filename=-"] if manifest else []
        stdin = json.dumps(manifest) if manifest else None
        return self.control_plane.kubectl(
            f"--namespace={self.namespace}", *arguments, *source, stdin=stdin, check=check
        )

    def store(self, *manifests: Object) -> None:
        """Create objects, as fast as the API server takes them."""
        for manifest in manifests:
            self.client.create(_resource(manifest), manifest)

    def edit(self, name: str, *, metadata: Object | None = None, **spec: Any) -> None:
        """Update fields of a ServiceEntry."""
        entry = self.client.get(SERVICE_ENTRIES, self.namespace, name)
        entry["spec"] |= spec
        entry["metadata"] |= metadata or {}
        self.client.replace(SERVICE_ENTRIES, entry)

    def patch(self, name: str, change: Object) -> None:
        """Change a VirtualService by hand, under kubectl's own field manager."""
        self.kubectl("patch", "virtualservices", name, "--type=merge", f"--patch={json.dumps(change)}")

    def delete(self, name: str, resource: Resource = SERVICE_ENTRIES) -> None:
        """Delete an object."""
        self.client.delete(resource, self.namespace, name)

    def stored(self, name: str = "api") -> Object:
        """A ServiceEntry as it is stored."""
        return self.client.get(SERVICE_ENTRIES, self.namespace, name)

    def virtual_services(self) -> dict[str, Object]:
        """All VirtualServices of the namespace, by name."""
        items = self.client.list_page(VIRTUAL_SERVICES, self.namespace).items
        return {item["metadata"]["name"]: item for item in items}

    def virtual_service(self, host: str | None = None) -> Object:
        """The one VirtualService of a host, `api` if none is named, once it is there."""
        name = host or self.host()
        wait_until(lambda: name in self.virtual_services(), f"there is a VirtualService {name}", SECONDS)
        return self.virtual_services()[name]

    def expect(self, *names: str) -> None:
        """Wait until exactly these VirtualServices are there."""
        with suppress(TimeoutError):
            wait_until(lambda: self.virtual_services().keys() == set(names), "they are there", SECONDS)
        assert sorted(self.virtual_services()) == sorted(names)

    def expect_spec(self, name: str, spec: Object) -> None:
        """Wait until the VirtualService has exactly this spec."""
        with suppress(TimeoutError):
            wait_until(lambda: self.virtual_service(name)["spec"] == spec, "it has that spec", SECONDS)
        assert self.virtual_service(name)["spec"] == spec

    def settle(self) -> None:
        """Wait until the controller has seen, and acted on, all that was written before.

        An entry of ours is decided after what came before it; its VirtualService is deleted only once the
        controller has seen that too, and with it every VirtualService that was written earlier.
        """
        host = self.host("settled")
        self.store(self.entry("settled", hosts=[host]))
        self.virtual_service(host)
        self.delete("settled")
        wait_until(lambda: host not in self.virtual_services(), "the marker is gone", SECONDS)

    def conflict_notes(self) -> list[str]:
        """What Events say of hosts that others claim."""
        events = self.client.list_page(EVENTS, self.namespace).items
        return [event["note"] for event in events if event["reason"] == "HostConflict"]

    def come_under_guard(self) -> None:
        """Label the namespace for the webhook, and wait until it is asked."""
        self.kubectl("label", "namespace", self.namespace, *(f"{key}={value}" for key, value in GUARDED.items()))
        self.wait_until_guarded()

    def wait_until_guarded(self) -> None:
        """Wait until NONE comes out of a dry run as DNS: the API server learns of webhooks and labels late."""
        entry = self.entry(PROBE, hosts=[self.host(PROBE)], resolution="NONE")

        def asked() -> bool:
            try:
                return bool(self.client.rehearse(SERVICE_ENTRIES, entry).object["spec"].get("resolution") == "DNS")
            except Forbidden:  # it knows the one that refuses, and not yet the one that changes
                return False

        wait_until(asked, "the webhook is asked", SECONDS)


def _resource(manifest: Object) -> Resource:
    group, _, version = manifest["apiVersion"].rpartition("/")
    plural = {"ServiceEntry": "serviceentries", "VirtualService": "virtualservices"}[manifest["kind"]]
    return Resource(group, version, plural, manifest["kind"])
