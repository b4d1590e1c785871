"""The whole mesh of one run: API server, istiod, the product, two sidecars, DNS; made once, for all trials."""

import ssl
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

import yaml

from app.core.policy import GuardPolicy
from app.core.reader import parse_policy
from app.core.survey import Sourced, survey
from app.kube.client import Client, Object
from tests.bed.binaries import Binaries, MeshBinaries
from tests.bed.control_plane import ControlPlane
from tests.bed.pki import create_authority
from tests.bed.processes import wait_until
from tests.e2e.team import DESTINATION_RULES, GUARDED, NAMESPACES, VIRTUAL_SERVICES, Team
from tests.guard import guard
from tests.mesh import networks
from tests.mesh.arms import ARMS, MARKER, PRIVATE
from tests.mesh.cases import CASES_IN_MESH
from tests.mesh.istiod import Istiod
from tests.mesh.manifests import RESOURCES, ROOT_NAMESPACE, entry, guard_policy, no_mutual_tls, sidecar
from tests.mesh.names import Names
from tests.mesh.secrets import Secrets
from tests.mesh.sidecar import Sidecar
from tests.mesh.upstreams import Loop, Upstream

NAMESERVER = "127.0.0.1"
APPLICATION = "application"
MARKED = ('"name":"marker.example:80"', '"idle_timeout":"31s"', '"timeout":"30s"')
"""What a sidecar's configuration has of the marker: its routes, its DestinationRule, its VirtualService."""
EMITTED_SECONDS = 60.0


class Mesh:
    """Where trials take place. Enter it in a network and a mount namespace that nobody else is in.

    `sidecar` takes what iptables redirects and sees the hosts of every arm; `private_sidecar` is that of the namespace
    `private`, and is spoken to on 127.0.0.1.
    """

    names: Names
    control_plane: ControlPlane
    client: Client
    sidecar: Sidecar
    private_sidecar: Sidecar

    def __init__(self, binaries: Binaries, tools: MeshBinaries) -> None:
        self._binaries, self._tools = binaries, tools
        self._authority = create_authority("upstreams")
        self._policy_document = guard_policy(_sections())
        self._loop = Loop()
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
        """What webhook and controller are given: a section for each arm."""
        return parse_policy(self._policy_document)

    def upstream(self, address: str, port: int = 80, **behaviour: Any) -> Upstream:
        """A server of the far network, open."""
        return Upstream(self._loop, address, port, **behaviour).open()

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
        self._wait_until_emitted(documents)
        marker = entry(MARKER, "marker.example")
        self._store(marker)
        self._wait_until_emitted([marker])
        # istiod watches each kind by itself: the marker has objects of every kind, each younger than all the others.
        for each in (self.sidecar, self.private_sidecar):
            each.wait_for("it knows the marker", *MARKED)

    def emitted(self) -> set[tuple[str, str, str]]:
        """Kind, namespace and name of all objects of a kind that we emit."""
        return {
            (kind.kind, item["metadata"]["namespace"], item["metadata"]["name"])
            for kind in (VIRTUAL_SERVICES, DESTINATION_RULES)
            for item in self.client.list_page(kind).items
        }

    def _store(self, *manifests: Object) -> None:
        for manifest in manifests:
            self.client.create(RESOURCES[manifest["kind"]], manifest)

    def _wait_until_emitted(self, documents: list[Object]) -> None:
        reviewed = survey([Sourced("mesh", each) for each in documents], self.policy)
        wanted = {(one.kind, one.key.namespace, one.key.name) for each in reviewed for one in each.emitted}
        wait_until(lambda: wanted <= self.emitted(), f"all of {sorted(wanted)} is emitted", EMITTED_SECONDS)

    def _start(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serviceentry-guard-mesh-")))
        networks.set_up(folder, NAMESERVER)
        self.names = Names(NAMESERVER)
        self.names.point("marker.example", networks.plain_address())
        self.control_plane = stack.enter_context(ControlPlane(self._binaries))
        self.client = Client.from_kubeconfig(str(self.control_plane.kubeconfig))
        stack.callback(self.client.close)
        self._lay_out()
        istiod = Istiod(self._tools.istiod, self.control_plane.kubeconfig, folder)
        stack.enter_context(istiod.child)
        policy = folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(self._policy_document))
        stack.enter_context(guard(self.control_plane, policy=policy, selector=GUARDED))
        istiod.wait_until_ready()
        secrets = Secrets(self._authority.certificate)
        self._loop.run(secrets.open())
        self.sidecar = Sidecar(APPLICATION, istiod.port, secrets.port, folder, intercepts=True)
        self.private_sidecar = Sidecar(PRIVATE.namespace, istiod.port, secrets.port, folder, intercepts=False)
        for each in (self.sidecar, self.private_sidecar):
            stack.enter_context(each.child)
        for each in (self.sidecar, self.private_sidecar):
            each.wait_until_ready()
        Team(self.control_plane, self.client, MARKER.namespace).wait_until_guarded()

    def _lay_out(self) -> None:
        """Make the namespaces, and say which hosts their sidecars know."""
        labels: dict[str, Mapping[str, str]] = {ROOT_NAMESPACE: {}, APPLICATION: {}}
        labels |= {arm.namespace: arm.labels for arm in ARMS}
        labels |= {case.namespace: GUARDED for case in CASES_IN_MESH}
        for name in labels:
            metadata = {"name": name, "labels": dict(labels[name])}
            self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._store(
            no_mutual_tls(),
            sidecar(APPLICATION, (arm.namespace for arm in ARMS)),
            sidecar(PRIVATE.namespace, (PRIVATE.namespace, MARKER.namespace)),
        )


def _sections() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the policy of each namespace."""
    return chain(
        ((arm.namespace, arm.policy) for arm in ARMS),
        ((case.namespace, case.section) for case in CASES_IN_MESH),
    )
