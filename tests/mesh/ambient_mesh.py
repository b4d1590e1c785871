"""An ambient mesh: istiod, waypoints that it configures, an Envoy for each ztunnel, and sidecars beside waypoints."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.kube.client import Object
from tests.bed.binaries import provide_gateway_api
from tests.bed.processes import wait_until
from tests.e2e.team import SERVICE_ENTRIES
from tests.mesh.ambient_arms import ALL, EGRESS, GATEWAYS, HOMES, MARKER, RECIPE, SIDECARS, WAYPOINTS
from tests.mesh.arms import Arm
from tests.mesh.hbone import GATEWAY_NAME, PORT, WAYPOINT, Egress, Waypoint, Ztunnel, identity
from tests.mesh.istiod import Istiod
from tests.mesh.manifests import ROOT_NAMESPACE, entry, no_mutual_tls, sidecar_resource, virtual_service
from tests.mesh.mesh import Mesh
from tests.mesh.networks import Pod
from tests.mesh.sidecar import Sidecar

USE_WAYPOINT = "istio.io/use-waypoint"
MARKED = '"timeout":"29s"'
SETTLED_SECONDS = 60.0
GATEWAY_API = "gateway.networking.k8s.io/v1"


class AmbientMesh(Mesh):
    """Where trials of an ambient mesh take place."""

    ambient = True
    probed = RECIPE

    def waypoint(self, arm: Arm) -> Pod:
        """The Pod of the waypoint that serves the entries of an arm."""
        return self._waypoints[WAYPOINTS[arm.namespace]].pod

    def beside(self, namespace: str) -> Pod:
        """The Pod of an application with a sidecar in the namespace of a waypoint."""
        return self._sidecars[namespace].pod

    @property
    def egress(self) -> Pod:
        """The Pod of the egress gateway."""
        return self._egress.pod

    def ask_egress(self, path: str) -> str:
        """Ask the administration of the egress gateway."""
        return self._egress.ask(path)

    def capture(self, arm: Arm, name: str, host: str) -> None:
        """Have the application of an arm resolve a host as ztunnel does: to the address of an entry, if it has one."""
        pod = self.pod(arm)
        if found := self._allocated(arm, name).get(host):
            self.names.capture(host, pod.address, found)
        else:
            self.names.release(host, pod.address)

    def apply(self, manifests: Iterable[Object]) -> None:
        """Store what people wrote, and wait until the waypoints act on all that follows from it."""
        documents = list(manifests)
        self._store(*documents)
        self._wait_until_settled([one for one in documents if one["kind"] != "Namespace"])
        for one in documents:
            if one["kind"] == "ServiceEntry":
                self.wait_until_allocated(one)
        self._store(*self._markers())
        for namespace, each in self._waypoints.items():
            each.wait_for("it knows the marker", f"marker-{namespace}.example", MARKED)

    def _markers(self) -> Iterator[Object]:
        """Yield an entry for each waypoint, by which one sees that it knows all that is older."""
        for namespace in self._waypoints:
            host = f"marker-{namespace}.example"
            yield _marker(host, namespace)
            yield virtual_service(MARKER, host, {"timeout": "29s"}, name=host)

    def _allocated(self, arm: Arm, name: str) -> dict[str, str]:
        """Return the addresses that istiod allocated for an entry, by host; it ignores those of one with NONE."""
        stored = self.client.get(SERVICE_ENTRIES, arm.namespace, name)
        addresses = stored.get("status", {}).get("addresses", []) if stored["spec"]["resolution"] != "NONE" else []
        return {one.get("host", ""): one["value"] for one in addresses if "." in one["value"]}

    def wait_until_allocated(self, document: Object) -> None:
        """Wait until an entry with resolution DNS has an address."""
        namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]

        def done() -> bool:
            stored = self.client.get(SERVICE_ENTRIES, namespace, name)
            return stored["spec"]["resolution"] != "DNS" or bool(stored.get("status", {}).get("addresses"))

        wait_until(done, f"ServiceEntry {namespace}/{name} has an address", SETTLED_SECONDS)

    def catch_up(self, arm: Arm) -> None:
        """Wait until the waypoint of an arm knows all that is stored by now."""
        host = f"late-{arm.namespace}.example"
        namespace = WAYPOINTS[arm.namespace]
        document = _marker(host, namespace)
        self._store(document)
        self.wait_until_allocated(document)
        # Addresses come with the listeners, which are the last of what Istio sends.
        address = self._allocated(MARKER, host)[host]
        self._waypoints[namespace].wait_for(f"it knows the address of {host}", f'"{address}"')

    def is_served(self, arm: Arm, name: str, host: str) -> bool:
        """Whether the waypoint of an arm knows the address of a host of an entry; True if the host has no address."""
        address = self._allocated(arm, name).get(host)
        return address is None or f'"{address}"' in self._waypoints[WAYPOINTS[arm.namespace]].configuration()

    def _sections(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return ((arm.namespace, arm.policy) for arm in ALL)

    def _beside(self) -> Iterable[Object]:
        for name, labels in self._labels().items():
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}

    def _labels(self) -> dict[str, Mapping[str, str]]:
        names = (ROOT_NAMESPACE, GATEWAYS, MARKER.namespace, EGRESS.namespace)
        labels: dict[str, Mapping[str, str]] = {name: {} for name in names}
        for arm in HOMES:
            at = {USE_WAYPOINT: WAYPOINT, f"{USE_WAYPOINT}-namespace": WAYPOINTS[arm.namespace]}
            labels[arm.namespace] = {**arm.labels, "istio.io/dataplane-mode": "ambient", **at}
        return labels | {arm.namespace: {**arm.labels, "istio-injection": "enabled"} for arm in SIDECARS}

    def _lay_out(self) -> None:
        for path in provide_gateway_api():
            self.control_plane.kubectl("create", "--filename", str(path))
        self.control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self._make_namespaces(self._labels())
        controller = {"controllerName": "istio.io/mesh-controller"}
        self._store(
            {"apiVersion": GATEWAY_API, "kind": "GatewayClass", "metadata": {"name": CLASS}, "spec": controller},
            no_mutual_tls(),
            *_without_istios_filters(),
        )
        for namespace in dict.fromkeys(WAYPOINTS.values()):
            self._make_waypoint(namespace)
        for arm in SIDECARS:
            # The Service of the waypoint has no endpoints here, for which the sidecar would wait.
            own = "./*" if "egress/*" in arm.imports else ""
            self._store(sidecar_resource(arm.namespace, arm.imports, own=own))

    def _make_waypoint(self, namespace: str) -> None:
        metadata = {"name": WAYPOINT, "namespace": namespace}
        listener = {"name": "mesh", "port": PORT, "protocol": "HBONE", "allowedRoutes": {"namespaces": {"from": "All"}}}
        spec = {"gatewayClassName": CLASS, "listeners": [listener]}
        labels = {GATEWAY_NAME: WAYPOINT}
        port = {"name": "mesh", "port": PORT, "appProtocol": "hbone"}
        service = {"selector": labels, "ports": [port]}
        self._store(
            {"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": metadata, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": {**metadata, "labels": labels}, "spec": service},
        )
        address = f'[{{"type":"Hostname","value":"{WAYPOINT}.{namespace}.svc.cluster.local"}}]'
        patch = f'{{"status":{{"addresses":{address}}}}}'
        self.control_plane.kubectl(
            "patch", "gateway", WAYPOINT, f"--namespace={namespace}", "--subresource=status", "--type=merge",
            f"--patch={patch}",
        )  # fmt: skip

    def _start_proxies(self, stack: ExitStack, istiod: Istiod, folder: Path) -> None:
        self._waypoints = dict[str, Waypoint]()
        for namespace in dict.fromkeys(WAYPOINTS.values()):
            pair = self._authority.workload(identity(namespace, WAYPOINT))
            self._waypoints[namespace] = Waypoint(namespace, istiod.port, self._serve_secrets(pair).port, folder)
        for arm in SIDECARS:
            port = self._serve_secrets(self._authority.workload(identity(arm.namespace, "application"))).port
            self._sidecars[arm.namespace] = Sidecar(Pod(arm.namespace), arm.namespace, istiod.port, port, folder)
        for arm in HOMES:
            at = self._waypoints[WAYPOINTS[arm.namespace]].pod.address
            self._sidecars[arm.namespace] = Ztunnel(arm.namespace, at, self._authority, folder)
        pair = self._authority.workload(identity(EGRESS.namespace, "egressgateway"))
        self._egress = Egress(EGRESS.namespace, istiod.port, self._serve_secrets(pair).port, folder)
        proxies = [*self._waypoints.values(), *self._sidecars.values(), self._egress]
        for each in proxies:
            stack.enter_context(each.child)
        for each in proxies:
            each.wait_until_ready()


def _marker(host: str, namespace: str) -> Object:
    """An entry at the waypoint of a namespace."""
    labels = {USE_WAYPOINT: WAYPOINT, f"{USE_WAYPOINT}-namespace": namespace}
    document = entry(MARKER, host, resolution="DNS")
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


CLASS = "istio-waypoint"
FILTERS = ("waypoint_downstream_peer_metadata", "waypoint_upstream_peer_metadata")


def _without_istios_filters() -> Iterator[Object]:
    """Take the HTTP filters out of waypoints that only Istio's own build of Envoy has."""
    for name in FILTERS:
        chain = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
        chain["filterChain"]["filter"]["subFilter"] = {"name": name}  # type: ignore[assignment]
        match = {"context": "SIDECAR_INBOUND", "listener": chain}
        patch = {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": "REMOVE"}}
        target = {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": CLASS}
        yield {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": name.replace("_", "-"), "namespace": ROOT_NAMESPACE},
            "spec": {"targetRefs": [target], "configPatches": [patch]},
        }
