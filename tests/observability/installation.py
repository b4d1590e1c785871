"""A guard on a control plane of its own, driven until it has something to say of everything that it measures."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from app.kube.client import Client
from app.kube.errors import ApiError
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import HOST, Controller, Webhook
from tests.bed.processes import wait_until
from tests.bed.refusals import LABEL, refusing
from tests.e2e.team import GUARDED, HTTP, SECONDS, Team

POLICY = """\
apiVersion: serviceentry-guard.io/v1alpha1
kind: GuardPolicy
exemptions:
  annotation: Allow
namespaces:
  - match: ["repaired"]
    existing: Remediate
"""
EXEMPT = {
    "annotations": {
        "serviceentry-guard.io/exempt": "the vendor pins its addresses",
        "serviceentry-guard.io/exempt-until": "2099-12-31",
    }
}
NETWORK = ["198.51.100.0/24"]


@dataclass(frozen=True)
class Installation:
    """Webhook and controller, whoever writes to their cluster, and the file of their policy."""

    webhook: Webhook
    controller: Controller
    policy: Path
    guarded: Team
    missed: Team
    repaired: Team
    refused: Team

    def drive(self, label: str) -> None:
        """Have everything happen once that can be measured; the label makes the names."""
        self._write(label)
        self._send_no_review()
        self._mistake_the_policy()

    def _write(self, label: str) -> None:
        host, hosts, claimed = f"{label}.example.com", self.missed.host(label), self.missed.host(f"{label}-claimed")
        self.guarded.store(
            self.guarded.entry(label, hosts=[host], resolution="NONE"),
            self.guarded.entry(f"{label}-sound", hosts=[f"sound.{host}"]),
            self.guarded.foreign(f"{label}-claims", claimed),
        )
        with pytest.raises(ApiError, match="SEG006"):
            self.guarded.store(self.guarded.entry(f"{label}-no", resolution="NONE", addresses=NETWORK))
        self.missed.store(
            self.missed.entry(f"{label}-network", resolution="NONE", addresses=NETWORK),
            self.missed.foreign(f"{label}-theirs", hosts),
            self.missed.entry(label, hosts=[hosts]),
            self.missed.entry(f"{label}-claimed", hosts=[claimed]),
            self.missed.entry(f"{label}-exempt", hosts=[f"exempt.{host}"], resolution="NONE", metadata=EXEMPT),
        )
        self.repaired.store(self.repaired.entry(label, hosts=[self.repaired.host(label)], resolution="NONE"))
        ports = [{**HTTP, "number": 8000 + number, "name": f"p{number}"} for number in range(200)]
        wide = [self.missed.host(f"{label}-wide-{number}") for number in range(3)]
        self.missed.store(self.missed.entry(f"{label}-wide", hosts=wide, ports=ports))
        self.refused.store(self.refused.entry(label, hosts=[self.refused.host(label)]))
        wait_until(lambda: self.repaired.stored(label)["spec"]["resolution"] == "DNS", "it is repaired", SECONDS)
        self.guarded.virtual_service(host)

    def _send_no_review(self) -> None:
        tls = ssl.create_default_context(cadata=self.webhook.authority.certificate.decode())
        connection = HTTPSConnection(HOST, self.webhook.port, timeout=10, context=tls)
        try:
            connection.request("POST", "/mutate", b"no review", {"Content-Type": "application/json"})
            assert connection.getresponse().status == 400
        finally:
            connection.close()

    def _mistake_the_policy(self) -> None:
        failures = "serviceentry_guard_policy_reload_failures_total"
        before = self.controller.metric(failures)
        self.policy.write_text("kind: none of ours\n")
        wait_until(lambda: self.controller.metric(failures) > before, "the mistake is noticed", SECONDS)
        self.policy.write_text(POLICY)
        in_force = "serviceentry_guard_policy_last_reload_successful"
        wait_until(lambda: self.controller.metric(in_force) == 1, "the mistake is mended", SECONDS)


@contextmanager
def installed(control_plane: ControlPlane, folder: Path) -> Iterator[Installation]:
    """Install it, and have every connection of the controller cut once."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    client = Client.from_kubeconfig(str(control_plane.kubeconfig))
    arguments = [f"--policy={policy}"]
    with Webhook(folder, arguments) as webhook, webhook.registered(control_plane, GUARDED):
        guarded = Team.create(control_plane, client, "guarded", GUARDED)
        guarded.wait_until_guarded()
        with Controller(control_plane, folder, arguments) as controller:
            control_plane.restart_apiserver()
            restarts = "serviceentry_guard_watch_restarts_total"
            wait_until(lambda: bool(controller.metric(restarts)), "a watch is begun anew", SECONDS)
            control_plane.kubectl("create", "--filename=-", stdin=json.dumps(refusing()))
            missed, repaired = (Team.create(control_plane, client, name) for name in ("missed", "repaired"))
            refused = Team.create(control_plane, client, "refused", LABEL)
            yield Installation(webhook, controller, policy, guarded, missed, repaired, refused)
    client.close()
