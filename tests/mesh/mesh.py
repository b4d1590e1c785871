"""The whole mesh of one run: API server, istiod, the product, two sidecars, DNS; made once, for all trials."""

import ssl
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

import yaml

from app.clock import utc_day
from app.core.policy.model import GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import MANAGED_BY, MANAGER, ServiceEntry
from app.core.routes.survey import Sourced, survey
from app.kube.client import Client, Object
from tests.bed.binaries import Binaries, MeshBinaries
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook
from tests.bed.pki import KeyPair, create_authority
from tests.bed.processes import wait_until
from tests.e2e.team import DESTINATION_RULES, GUARDED, NAMESPACES, SERVICE_ENTRIES, VIRTUAL_SERVICES, Team
from tests.mesh import kubelet, networks
from tests.mesh.arms import ARMS, MARKER, PODS, RECIPE, Arm
from tests.mesh.cases import CASES_IN_MESH
from tests.mesh.databases import Database
from tests.mesh.istiod import Istiod
from tests.mesh.kubelet import Kubelet
from tests.mesh.manifests import (
    ISTIO_GATEWAYS,
    RESOURCES,
    ROOT_NAMESPACE,
    guard_policy,
    marker,
    no_mutual_tls,
    sidecar_resource,
)
from tests.mesh.names import Names
from tests.mesh.networks import Pod
from tests.mesh.secrets import Secrets
from tests.mesh.sidecar import Sidecar
from tests.mesh.upstreams import Loop, Upstream

MARKED_HOST = "marker.example"
MARKED = (f'"name":"{MARKED_HOST}:80"', '"idle_timeout":"31s"', '"timeout":"29s"')
"""What a sidecar's configuration has of the marker: its routes, its DestinationRule, its VirtualService."""
EMITTED_SECONDS = 120.0
UID = "0" * 36
OURS = f"{MANAGED_BY}={MANAGER}"
"""Label selector of what the guard emits."""


class Mesh:
    """Where trials take place. Enter it in a network and a mount namespace that nobody else is in."""

    names: Names
    control_plane: ControlPlane
    client: Client
    ambient = False
    probed = RECIPE
    """The arm in which it is tried whether the webhook is asked."""

    def __init__(self, binaries: Binaries, tools: MeshBinaries) -> None:
        self._binaries, self._tools = binaries, tools
        self._authority = create_authority("upstreams")
        self._policy_document = guard_policy(self._sections())
        self._loop = Loop()
        self._sidecars = dict[str, Sidecar]()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    @property
    def policy(self) -> GuardPolicy:
        """What webhook and controller are given: a section for each arm; exemptions are judged by the day of today."""
        return parse_policy(self._policy_document).on(utc_day())

    def pod(self, arm: Arm) -> Pod:
        """Where the application of an arm runs, beside the sidecar of its namespace."""
        return self._sidecars[arm.namespace].pod

    def upstream(self, address: str, port: int = 80, **behaviour: Any) -> Upstream:
        """A server of the far network, open."""
        return Upstream(self._loop, address, port, **behaviour).open()

    def database(self, address: str, port: int) -> Database:
        """A server of the far network that speaks TCP, open."""
        return Database(self._loop, address, port).open()

    def serving_tls(self, *names: str) -> ssl.SSLContext:
        """For an upstream that is known by these names."""
        pair = self._authority.serving(*names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            certificate.write_bytes(pair.certificate)
            key.write_bytes(pair.private_key)
            context.load_cert_chain(certificate, key)
        return context

    def trusting_tls(self) -> ssl.SSLContext:
        """For an application that verifies those upstreams."""
        return ssl.create_default_context(cadata=self._authority.certificate.decode())

    def apply(self, manifests: Iterable[Object]) -> None:
        """Store what people wrote, and wait until the sidecars act on all that follows from it."""
        documents = list(manifests)
        self._store(*documents)
        self._wait_until_settled(documents)
        # istiod watches each kind by itself: the marker has objects of every kind, each younger than all the others.
        self._store(*marker(MARKER, MARKED_HOST))
        for each in self._sidecars.values():
            each.wait_for("it knows the marker", *MARKED)

    def emitted(self) -> set[tuple[str, str, str]]:
        """Kind, namespace and name of all objects that the guard emitted."""
        return {
            (kind.kind, item["metadata"]["namespace"], item["metadata"]["name"])
            for kind in (VIRTUAL_SERVICES, DESTINATION_RULES)
            for item in self.client.list_page(kind, label_selector=OURS).items
        }

    def _store(self, *manifests: Object) -> None:
        for manifest in manifests:
            istio = manifest["kind"] == "Gateway" and manifest["apiVersion"].startswith(ISTIO_GATEWAYS.group)
            self.client.create(ISTIO_GATEWAYS if istio else RESOURCES[manifest["kind"]], manifest)

    def _wait_until_settled(self, documents: list[Object]) -> None:
        """Wait until every entry is stored, and everything emitted, as the core says it should be."""
        known = [*map(_identified, documents), *self._beside()]
        reviewed = survey([Sourced("mesh", each) for each in known], self.policy)
        wanted = {(one.kind, one.key.namespace, one.key.name) for each in reviewed for one in each.emitted}
        wanted |= {
            (each.resolution, each.key.namespace, each.key.name)
            for each in (ServiceEntry.parse(one.stored) for one in reviewed)
        }

        def differing() -> set[tuple[str, str, str]]:
            return wanted ^ (self.emitted() | self._resolutions())

        try:
            wait_until(lambda: not differing(), "all is as the core says", EMITTED_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; these differ: {sorted(differing())}") from None

    def _resolutions(self) -> set[tuple[str, str, str]]:
        """Resolution, namespace and name of all entries."""
        stored = map(ServiceEntry.parse, self.client.list_page(SERVICE_ENTRIES).items)
        return {(one.resolution, one.key.namespace, one.key.name) for one in stored}

    def _start(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serviceentry-guard-mesh-")))
        networks.set_up(folder, networks.HERE)
        self.names = Names(networks.HERE)
        self.names.point(MARKED_HOST, networks.plain_address())
        self.control_plane = stack.enter_context(ControlPlane(self._binaries))
        self.client = Client.from_kubeconfig(str(self.control_plane.kubeconfig))
        stack.callback(self.client.close)
        self._lay_out()
        istiod = Istiod(self._tools.istiod, self.control_plane.kubeconfig, folder, ambient=self.ambient)
        stack.enter_context(istiod.child)
        self._start_guard(stack, folder)
        istiod.wait_until_ready()
        self._start_proxies(stack, istiod, folder)
        Team(self.control_plane, self.client, self.probed.namespace).wait_until_guarded()

    def _start_proxies(self, stack: ExitStack, istiod: Istiod, folder: Path) -> None:
        secrets = self._serve_secrets()
        for arm in PODS:
            sidecar = Sidecar(Pod(arm.namespace), arm.namespace, istiod.port, secrets.port, folder)
            self._sidecars[arm.namespace] = sidecar
            stack.enter_context(sidecar.child)
        for sidecar in self._sidecars.values():
            sidecar.wait_until_ready()

    def _serve_secrets(self, pair: KeyPair | None = None) -> Secrets:
        """Serve the secrets of a proxy: whom to trust, and its own certificate where it has one."""
        secrets = Secrets(self._authority.certificate, pair)
        self._loop.run(secrets.open())
        return secrets

    def _start_guard(self, stack: ExitStack, folder: Path) -> None:
        policy = folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(self._policy_document))
        client = Client.from_kubeconfig(str(self.control_plane.kubeconfig))
        stack.callback(client.close)
        pods = stack.enter_context(Kubelet(client, folder))
        webhook = Webhook(folder, [f"--policy={policy}", f"--siblings={pods.file}"])
        stack.enter_context(webhook)
        stack.enter_context(webhook.registered(self.control_plane, GUARDED))
        flags = [f"--policy={policy}", f"--siblings-config-map={kubelet.NAME}", "--no-leader-elect"]
        stack.enter_context(Controller(self.control_plane, folder, flags))

    def _lay_out(self) -> None:
        """Make the namespaces, and say which hosts their sidecars know."""
        labels: dict[str, Mapping[str, str]] = {ROOT_NAMESPACE: {}}
        labels |= {arm.namespace: arm.labels for arm in ARMS}
        labels |= {case.namespace: GUARDED for case in CASES_IN_MESH}
        self._make_namespaces(labels)
        self._store(no_mutual_tls())
        for arm in PODS:
            self._store(sidecar_resource(arm.namespace, (*arm.imports, f"{MARKER.namespace}/*")))

    def _make_namespaces(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        for name, values in labels.items():
            metadata = {"name": name, "labels": dict(values)}
            self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def _sections(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the policy of each namespace."""
        return chain(
            ((arm.namespace, arm.policy) for arm in ARMS),
            ((case.namespace, case.section) for case in CASES_IN_MESH),
        )

    def _beside(self) -> Iterable[Object]:
        """Objects that stand beside what people write, and that the core has to know."""
        return ()


def _identified(manifest: Object) -> Object:
    """A manifest as it is stored: with a UID, which makes what is emitted for it larger by an owner reference."""
    return {**manifest, "metadata": {**manifest["metadata"], "uid": UID}}
