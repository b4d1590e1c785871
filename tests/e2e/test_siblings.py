"""Entries of one namespace that share a host: decided as a whole, at admission and by the controller."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app.controller.pod_sync import ANNOTATION, Mounted, PodSync
from app.kube.client import Object
from app.kube.errors import Forbidden
from app.kube.resources import CONFIG_MAPS, PODS
from tests.bed.guard import Controller, Webhook
from tests.bed.processes import wait_until
from tests.e2e.team import EVENTS, GUARDED, HTTP, HTTPS, SERVICE_ENTRIES, Team

pytestmark = pytest.mark.e2e

SSH = {"number": 22, "name": "tcp-ssh", "protocol": "TCP"}
ADMIN = {"number": 8080, "name": "http-admin", "protocol": "HTTP"}
MAP = "guard-siblings"
SOON = 20.0


@pytest.fixture
def controller(loner: Team, tmp_path: Path) -> Iterator[Controller]:
    """A controller beside the control plane of the test, with the built-in policy."""
    flags = ["--no-leader-elect", f"--siblings-config-map={MAP}", "--pods=app=webhook"]
    with Controller(loner.control_plane, tmp_path, flags) as controller:
        yield controller


@pytest.fixture
def webhook(loner: Team, tmp_path: Path) -> Iterator[Webhook]:
    """A webhook that reads its siblings from a file of the test, asked in namespaces that are labelled for it."""
    with ExitStack() as stack:
        webhook = stack.enter_context(Webhook(tmp_path, [f"--siblings={tmp_path / 'siblings.json'}"]))
        stack.enter_context(webhook.registered(loner.control_plane, GUARDED))
        yield webhook


def written(team: Team) -> Any:
    """What the ConfigMap says of the team's namespace."""
    stored = team.client.list_page(CONFIG_MAPS, "default").items
    found = [one for one in stored if one["metadata"]["name"] == MAP]
    return json.loads(found[0]["data"]["siblings.json"]).get(team.namespace) if found and found[0].get("data") else None


def mount(team: Team, folder: Path) -> None:
    """Bring the ConfigMap to the webhook, as a kubelet does."""
    stored = team.client.get(CONFIG_MAPS, "default", MAP)
    (folder / "new.json").write_text(stored["data"]["siblings.json"])
    (folder / "new.json").rename(folder / "siblings.json")


def resolution(team: Team, name: str) -> str:
    return str(team.stored(name)["spec"].get("resolution", "NONE"))


def pod(name: str) -> Object:
    container = {"name": "webhook", "image": "serviceentry-guard"}
    metadata = {"name": name, "namespace": "default", "labels": {"app": "webhook"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def test_entries_that_share_a_host_follow_when_one_of_them_becomes_dns_and_no_other_does(
    loner: Team, controller: Controller
) -> None:
    loner.store(
        loner.entry("first", resolution="NONE"),
        loner.entry("second", ports=[ADMIN], resolution="NONE"),
        loner.entry("other", hosts=[loner.host("other")], resolution="NONE"),
    )
    loner.settle()
    assert [resolution(loner, name) for name in ("first", "second", "other")] == ["NONE"] * 3
    loner.edit("first", resolution="DNS")
    wait_until(lambda: resolution(loner, "second") == "DNS", "the second entry follows", SOON)
    routes = loner.virtual_service()["spec"]["http"]
    wait_until(
        lambda: len(loner.virtual_service()["spec"]["http"]) == 2, f"both ports have a route, not {routes}", SOON
    )
    assert resolution(loner, "other") == "NONE"
    assert controller.metric("serviceentry_guard_remediations_total", result="patched") == 1


def test_an_entry_is_refused_beside_one_of_its_host_that_keeps_its_resolution(
    loner: Team, controller: Controller, webhook: Webhook, tmp_path: Path
) -> None:
    del controller, webhook
    loner.store(loner.entry("ssh", ports=[SSH], resolution="NONE"))
    wait_until(lambda: written(loner) == {loner.host(): [["ssh", "NONE", "port 22 (TCP)"]]}, "the entry stays", SOON)
    mount(loner, tmp_path)
    loner.come_under_guard()
    wait_until(lambda: bool(refusal(loner, loner.entry("web", resolution="NONE"))), "the webhook knows it", SOON)
    message = refusal(loner, loner.entry("web", resolution="NONE"))
    assert "SEG040" in message
    assert f"{loner.namespace}/ssh" in message
    assert "port 22 (TCP)" in message
    assert "port 80 (HTTP)" in message
    loner.store(loner.entry("elsewhere", hosts=[loner.host("elsewhere")], resolution="NONE"))
    assert resolution(loner, "elsewhere") == "DNS"
    loner.edit("ssh", ports=[SSH, {**SSH, "number": 2222, "name": "tcp-git"}])
    assert resolution(loner, "ssh") == "NONE"
    loner.delete("ssh")
    wait_until(lambda: not written(loner), "no entry stays", SOON)
    mount(loner, tmp_path)
    entry = loner.entry("web", resolution="NONE")
    wait_until(lambda: allowed(loner, entry), "the host is free", SOON)


def refusal(team: Team, entry: Object) -> str:
    """What a dry run is refused with, nothing if it is let in."""
    try:
        team.client.rehearse(SERVICE_ENTRIES, entry)
    except Forbidden as error:
        return error.message
    return ""


def allowed(team: Team, entry: Object) -> bool:
    """Store an entry, if it is let in."""
    try:
        team.store(entry)
    except Forbidden:
        return False
    return resolution(team, entry["metadata"]["name"]) == "DNS"


def test_a_resolution_that_admission_missed_is_restored_with_an_event(loner: Team, controller: Controller) -> None:
    del controller
    loner.store(
        loner.entry("ssh", ports=[SSH], resolution="NONE"),
        loner.entry("web", resolution="NONE"),
    )
    loner.settle()
    loner.edit("web", resolution="DNS")
    wait_until(lambda: resolution(loner, "web") == "NONE", "the entry is put back", SOON)

    def told() -> list[str]:
        events = loner.client.list_page(EVENTS, loner.namespace).items
        return [one["note"] for one in events if one["reason"] == "Remediated"]

    wait_until(lambda: bool(told()), "it is told", SOON)
    assert "for the same host keeps this resolution" in told()[0]


def test_an_author_who_writes_dns_is_not_fought(loner: Team, controller: Controller) -> None:
    del controller
    loner.store(loner.entry("ssh", ports=[SSH], resolution="NONE"))
    loner.kubectl("apply", manifest=loner.entry("web", ports=[HTTP], resolution="NONE"))
    loner.settle()
    loner.kubectl("apply", manifest=loner.entry("web", ports=[HTTP], resolution="DNS"))
    loner.settle()
    assert resolution(loner, "web") == "DNS"


def test_both_entries_of_a_host_with_different_resolutions_get_an_event_and_a_finding(
    loner: Team, controller: Controller
) -> None:
    loner.store(loner.entry("ssh", ports=[SSH], resolution="NONE"))
    loner.settle()
    loner.kubectl("apply", manifest=loner.entry("web", ports=[HTTP], resolution="DNS"))

    def notes() -> dict[str, str]:
        events = loner.client.list_page(EVENTS, loner.namespace).items
        return {one["regarding"]["name"]: one["note"] for one in events if one["reason"] == "Unfixable"}

    wait_until(lambda: notes().keys() == {"ssh", "web"}, "both are told", SOON)
    assert f"ServiceEntry {loner.namespace}/ssh" in notes()["web"]
    assert f"ServiceEntry {loner.namespace}/web" in notes()["ssh"]
    assert all("port 22 (TCP)" in note and "port 80 (HTTP)" in note for note in notes().values())
    found = controller.metric("serviceentry_guard_findings", namespace=loner.namespace, code="SEG040")
    assert found == 2


def test_the_next_controller_restores_a_resolution_that_changed_without_a_controller(
    loner: Team, tmp_path: Path
) -> None:
    loner.store(loner.entry("ssh", ports=[SSH], resolution="NONE"))
    for name, written in (("web", "NONE"), ("meant", "DNS")):
        loner.kubectl("apply", manifest=loner.entry(name, ports=[HTTP], resolution=written))
    loner.edit("web", resolution="DNS")  # as the webhook does to what it does not know to have a sibling
    with Controller(loner.control_plane, tmp_path, ["--no-leader-elect"]):
        wait_until(lambda: resolution(loner, "web") == "NONE", "the entry is put back", SOON)
        loner.settle()
        assert resolution(loner, "meant") == "DNS"


def test_the_webhooks_pods_are_annotated_so_that_they_take_the_config_map_at_once(
    loner: Team, controller: Controller
) -> None:
    del controller
    loner.client.create(PODS, pod("webhook-1"))
    loner.store(loner.entry("ssh", ports=[SSH], resolution="NONE"))

    def told() -> bool:
        annotations = loner.client.get(PODS, "default", "webhook-1")["metadata"].get("annotations", {})
        return bool(annotations.get(ANNOTATION) == sync.version())

    sync = PodSync(loner.client, Mounted("default", "app=webhook", (MAP,)))
    wait_until(lambda: bool(written(loner)), "the ConfigMap is written", SOON)
    wait_until(told, "the pod is annotated with its version", SOON)
    first = sync.version()
    loner.delete("ssh")
    wait_until(lambda: sync.version() != first and told(), "the annotation changes with the ConfigMap", SOON)
    loner.client.delete(PODS, "default", "webhook-1")


def test_entries_that_declare_different_ports_keep_their_resolution_with_a_warning(
    loner: Team, controller: Controller, webhook: Webhook, tmp_path: Path
) -> None:
    del controller, webhook
    web = loner.entry("web", resolution="NONE")
    loner.store(web, loner.entry("secure", ports=[HTTPS], resolution="NONE"))
    stay = [["secure", "NONE", "port 443 (HTTPS)", "split"], ["web", "NONE", "port 80 (HTTP)", "split"]]
    wait_until(lambda: written(loner) == {loner.host(): stay}, "both stay", SOON)
    mount(loner, tmp_path)
    loner.come_under_guard()
    late = loner.entry("late", ports=[HTTPS], resolution="NONE")
    wait_until(lambda: kept_in(loner, late), "the webhook leaves a third alone", SOON)
    loner.edit("web", ports=[HTTP, ADMIN])
    loner.settle()
    assert [resolution(loner, name) for name in ("web", "secure")] == ["NONE"] * 2
    loner.delete("secure")
    wait_until(lambda: not written(loner), "the other is alone", SOON)


def kept_in(team: Team, entry: Object) -> bool:
    """Say whether the webhook leaves the resolution of an entry as it is."""
    return bool(team.client.rehearse(SERVICE_ENTRIES, entry).object["spec"]["resolution"] == "NONE")


WAYPOINT = {"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "gateways"}


def test_of_two_namespaces_with_a_host_at_one_waypoint_the_second_keeps_its_resolution(
    loner: Team, controller: Controller, webhook: Webhook, tmp_path: Path
) -> None:
    del controller, webhook
    second = beside(loner)
    loner.kubectl("apply", "--server-side", manifest=loner.entry("first", metadata={"labels": WAYPOINT}))
    second.store(second.entry("second", metadata={"labels": WAYPOINT}, hosts=[loner.host()], resolution="NONE"))
    wait_until(lambda: bool(written(second)), "the webhook is to be told", SOON)
    mount(loner, tmp_path)
    wait_until(lambda: resolution(second, "second") == "NONE", "it is put back", SOON)
    assert resolution(loner, "first") == "DNS"
    second.edit("second", exportTo=["."])
    assert resolution(second, "second") == "NONE"


def beside(team: Team) -> Team:
    """Another namespace under the guard."""
    second = Team.create(team.control_plane, team.client, f"{team.namespace}-second", GUARDED)
    second.wait_until_guarded()
    return second


def test_an_entry_that_was_alone_at_a_waypoint_gets_its_resolution_back_when_another_namespace_comes(
    loner: Team, controller: Controller, webhook: Webhook, tmp_path: Path
) -> None:
    """Whether its author ran `kubectl apply`, or a client that leaves no annotation and wrote no resolution."""
    del controller, webhook
    second = beside(loner)
    loner.come_under_guard()
    metadata = {"labels": WAYPOINT}
    unset = loner.entry("created", metadata=metadata)
    del unset["spec"]["resolution"]
    loner.kubectl("apply", manifest=loner.entry("applied", metadata=metadata, resolution="NONE"))
    loner.kubectl(
        "apply", "--server-side", manifest={**unset, "metadata": {**unset["metadata"], "name": "server-side"}}
    )
    loner.store(unset)
    names = ("applied", "created", "server-side")
    assert [resolution(loner, name) for name in names] == ["DNS"] * 3
    theirs = second.entry("theirs", metadata=metadata, hosts=[loner.host()], resolution="NONE")
    second.kubectl("apply", manifest=theirs)
    wait_until(lambda: bool(written(second)) and bool(written(loner)), "the webhook is to be told", SOON)
    mount(loner, tmp_path)

    def resolutions() -> list[str]:
        return [*(resolution(loner, name) for name in names), resolution(second, "theirs")]

    wait_until(lambda: resolutions() == ["NONE"] * 4, "all are put back", SOON)
    wait_until(lambda: not loner.virtual_services(), "nothing is emitted any more", SOON)
    notes = [one["note"] for one in loner.client.list_page(EVENTS, loner.namespace).items]
    told = f'waypoint gateways/waypoint serves "{loner.host()}" for ServiceEntry {second.namespace}/theirs too'
    assert any(note.endswith(told) for note in notes), notes
