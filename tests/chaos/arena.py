"""The product beside a control plane of its own: a webhook, and two controllers, each behind a gateway."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from app.kube.client import Client
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook
from tests.bed.processes import wait_until
from tests.chaos import audit_log
from tests.chaos.audit_log import AuditLog
from tests.chaos.clock import Clock, build
from tests.chaos.gateway import Gateway
from tests.chaos.others import store_others
from tests.e2e.team import Team

USERS = ("controller-1", "controller-2")
LEASE_SECONDS = 6
TIMING = (f"--lease-duration={LEASE_SECONDS}", "--renew-deadline=3", "--retry-period=0.4")
POLICY = "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n"
NAMESPACES = ("chaos-a", "chaos-b", "chaos-c")
LOOK_SECONDS = 60.0


@dataclass
class Arena:
    """All that a fault can reach. `controllers` and `gateways` belong together by their places."""

    plane: ControlPlane
    client: Client
    folder: Path
    policy: Path
    audit: AuditLog
    gateways: list[Gateway] = field(default_factory=list)
    controllers: list[Controller] = field(default_factory=list)
    clocks: dict[int, Clock] = field(default_factory=dict)
    """The clock that a controller sees, by its process."""
    webhook: Webhook = field(init=False)
    library: Path | None = None
    _numbers: "count[int]" = field(default_factory=count)

    def leading(self) -> int | None:
        """The place of the controller that says that it leads, if one does."""
        return next((place for place, each in enumerate(self.controllers) if leads(each)), None)

    def leader(self) -> int:
        """The same, once one does."""
        wait_until(lambda: self.leading() is not None, "a controller leads", LOOK_SECONDS)
        found = self.leading()
        return self.leader() if found is None else found

    def restart(self, place: int) -> None:
        """End a controller, and start it again, as the kubelet does, without waiting for it."""
        child = self.controllers[place].child
        if child.running:
            child.kill()
        child.start()

    def logs(self) -> list[Path]:
        """The logs of the product."""
        return [self.webhook.child.log, *(each.child.log for each in self.controllers)]

    def clock(self, place: int) -> Clock:
        """The clock of a controller."""
        return self.clocks[self.controllers[place].health_port]

    def make_controller(self, place: int, *arguments: str) -> Controller:
        """A controller behind the gateway of a place, which is not started yet."""
        folder = self.folder / f"controller-{next(self._numbers)}"
        folder.mkdir()
        given = [*TIMING, f"--policy={self.policy}", "--log-format=json", *arguments]
        controller = Controller(self.plane, folder, given, self.gateways[place].kubeconfig)
        self.clocks[controller.health_port] = clock = Clock.of(folder, self.library)
        controller.child.env = clock.environment
        return controller


def leads(controller: Controller) -> bool:
    """Whether a controller says so of itself; not if it does not answer."""
    try:
        return controller.metric("leader_election_master_status") == 1
    except OSError:
        return False


@contextmanager
def arena(arguments: Sequence[str] = ()) -> Iterator[Arena]:
    """Bring it up, with the objects of others; everything is gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serviceentry-guard-chaos-")))
        recording = audit_log.arguments(folder, USERS)
        plane = stack.enter_context(ControlPlane(provide(), [*recording, *arguments]))
        client = Client.from_kubeconfig(str(plane.kubeconfig), timeout=3.0)
        stack.callback(client.close)
        policy = folder / "policy.yaml"
        policy.write_text(POLICY)
        found = Arena(plane, client, folder, policy, AuditLog(folder / "audit.log"))
        found.library = build(folder)
        _grant(found)
        found.webhook = stack.enter_context(Webhook(folder, [f"--policy={policy}", "--log-format=json"]))
        stack.enter_context(found.webhook.registered(plane))
        for namespace in NAMESPACES:
            store_others(Team.create(plane, client, namespace))
        Team.create(plane, client, "chaos-probe").wait_until_guarded()
        for place, user in enumerate(USERS):
            found.gateways.append(Gateway(plane, user))
            stack.callback(found.gateways[place].close)
            found.controllers.append(found.make_controller(place))
            stack.enter_context(found.controllers[place])
        yield found


def _grant(found: Arena) -> None:
    """Let the users of the controllers do what they need; each is in a group of its own name."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "controllers-of-the-test"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": user} for user in USERS],
    }
    found.plane.kubectl("apply", "--filename=-", stdin=json.dumps(binding))
