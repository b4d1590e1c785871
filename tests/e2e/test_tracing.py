"""Traces through a real API server: from who writes an entry to the webhook, and from the controller to the webhook."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from app.kube.client import Client, Object
from app.telemetry.tracing import ENTRY_UIDS
from tests.bed.binaries import provide
from tests.bed.collector import Collector, Received, collecting
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import Controller, Webhook
from tests.bed.ports import free_port
from tests.bed.processes import wait_until
from tests.bed.require import require_kubernetes
from tests.e2e.team import GUARDED, SERVICE_ENTRIES, Team

pytestmark = pytest.mark.e2e

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
REMEDIATE = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "existing": "Remediate"}


@dataclass(frozen=True, slots=True)
class Traced:
    """An API server that traces, with a webhook beside it, and where both it and a controller send their traces."""

    control_plane: ControlPlane
    client: Client
    collector: Collector
    folder: Path

    def team(self, name: str, labels: dict[str, str] | None = None) -> Team:
        """Make a team."""
        return Team.create(self.control_plane, self.client, name, labels)

    def controller(self) -> Controller:
        """Make a controller, which is not started yet."""
        return Controller(self.control_plane, self.folder, [*flags(self.collector, self.folder), "--no-leader-elect"])


def flags(collector: Collector, folder: Path) -> list[str]:
    """What both processes are given."""
    return [f"--otlp-endpoint={collector.endpoint}", f"--policy={folder / 'policy.yaml'}"]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """One for both tests. Nobody takes the API server's own spans."""
    folder = tmp_path_factory.mktemp("tracing")
    tracing = {
        "apiVersion": "apiserver.config.k8s.io/v1beta1",
        "kind": "TracingConfiguration",
        "endpoint": f"127.0.0.1:{free_port()}",
        "samplingRatePerMillion": 0,
    }
    (folder / "tracing.yaml").write_text(json.dumps(tracing))
    (folder / "policy.yaml").write_text(yaml.safe_dump(REMEDIATE))
    with (
        pytest.MonkeyPatch.context() as patch,
        collecting() as collector,
        ControlPlane(provide(), [f"--tracing-config-file={folder / 'tracing.yaml'}"]) as control_plane,
    ):
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with Webhook(folder, flags(collector, folder)) as webhook, webhook.registered(control_plane, GUARDED):
            require_kubernetes(control_plane, "1.33", "an API server that continues the trace of its caller")
            client = Client.from_kubeconfig(str(control_plane.kubeconfig))
            yield Traced(control_plane, client, collector, folder)
            client.close()


def create(team: Team, entry: Object) -> str:
    """Create an entry as a part of a trace; its UID."""
    traceparent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    client = Client.from_kubeconfig(str(team.control_plane.kubeconfig), context=lambda: traceparent)
    stored = client.create(SERVICE_ENTRIES, entry)
    client.close()
    return str(stored["metadata"]["uid"])


def spans(traced: Traced, name: str, **wanted: str) -> list[Received]:
    """The spans of this name with these fields, once there are any."""

    def found() -> list[Received]:
        named = traced.collector.named(name)
        return [one for one in named if all(getattr(one, field) == value for field, value in wanted.items())]

    wait_until(lambda: bool(found()), f"there is a span {name} with {wanted}")
    return found()


def of_entry(traced: Traced, name: str, uid: str) -> Received:
    """The one span of this name for an entry, once it is there."""

    def found() -> list[Received]:
        return [one for one in traced.collector.named(name) if uid in one.attributes.get(ENTRY_UIDS, ())]

    wait_until(lambda: bool(found()), f"there is a span {name} for {uid}")
    (span,) = found()
    return span


def test_admission_is_a_part_of_the_trace_of_who_writes_the_entry(traced: Traced) -> None:
    team = traced.team("traced", GUARDED)
    team.wait_until_guarded()
    with traced.controller():
        uid = create(team, team.entry(resolution="NONE"))
        emitted = of_entry(traced, "reconcile", uid)
        (mutated,), (validated,) = (
            spans(traced, f"admission {stage}", trace=TRACE) for stage in ("mutate", "validate")
        )
    for span, verdict in ((mutated, "patched"), (validated, "allowed")):
        assert span.service == "serviceentry-guard-webhook"
        assert span.parent not in {"", CALLER}, "between them is the API server's own span"
        assert span.attributes["serviceentry_guard.verdict"] == verdict
        assert span.attributes["k8s.namespace.name"] == team.namespace
    # The UID is what both have in common: nothing of an object says who wrote it.
    assert mutated.attributes[ENTRY_UIDS] == ()
    assert validated.attributes[ENTRY_UIDS] == (uid,)
    assert emitted.service == "serviceentry-guard-controller"
    assert emitted.attributes["serviceentry_guard.applied"] == ("VirtualService",)
    assert emitted.trace != TRACE


def test_the_trace_of_a_write_continues_through_the_api_server_to_the_webhook(traced: Traced) -> None:
    team = traced.team("missed")
    team.store(team.entry(resolution="NONE"))
    team.come_under_guard()
    with traced.controller():
        remediated = of_entry(traced, "remediate", team.stored()["metadata"]["uid"])
        for stage in ("mutate", "validate"):
            (admitted,) = spans(traced, f"admission {stage}", trace=remediated.trace)
            assert admitted.parent not in {"", remediated.span}, "between them is the API server's own span"
            assert admitted.attributes["serviceentry_guard.operation"] == "UPDATE"
