"""A release from its beginning to its end, in the mode `self`: installed, certified, upgraded, uninstalled.

The controllers are processes with the arguments and rights of their pods; the hook's Job is one too.
"""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.core.cel.admission_policy import Engine
from app.kube.client import Client, Object
from app.kube.errors import NotFound
from app.kube.resources import REPORTS
from app.settings import LEASE_NAME
from tests.bed.administrator import administrator
from tests.bed.binaries import provide
from tests.bed.build import cached
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND
from tests.bed.processes import wait_until
from tests.bed.tools import OPEN_REPORTS
from tests.chart.conftest import audited
from tests.chart.helm import NAMESPACE, RELEASE, Helm
from tests.chart.jobs import Jobs
from tests.chart.release import Release
from tests.chart.test_e2e import OLDER_REPORTS, Rights, events, granted, have_pods_told, reported, used
from tests.chart.value_sets import Values, over
from tests.e2e.backstops import require_engine, stored_policies
from tests.e2e.team import SECONDS, Team
from tests.e2e.test_cases_e2e import emitted

pytestmark = pytest.mark.e2e

CONFIGURATIONS = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")
APART: Values = {"admission": {"namespaceSelector": {"matchLabels": {"guarded": "never"}}}}
"""Nobody answers on the release's Service here, so that it must not be asked."""
KEPT = ("", "admissionregistration.k8s.io")
"""API groups of what is kept with certificates; what is done with the rest is seen in test_e2e."""
REFUSING = ("validatingadmissionpolicybinding", "serviceentry-guard-refuse")
REPORT = REPORTS[0]
SECRETS = (f"{RELEASE}-tls", f"{RELEASE}-ca")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit log."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def place(log: Path) -> Iterator[ControlPlane]:
    """A control plane of its own: releases come and go here."""
    with ControlPlane(provide(), audited(log)) as place:
        yield place


@pytest.fixture(scope="module")
def place_admin(place: ControlPlane) -> Iterator[Client]:
    """Its administrator."""
    yield from administrator(place)


@pytest.fixture
def either(request: pytest.FixtureRequest, helm: Helm, helm4: Helm) -> Helm:
    """Helm 3 or Helm 4, as the test says."""
    return {"helm": helm, "helm4": helm4}[request.param]


def bundles(release: Release) -> list[bytes]:
    """The caBundle of both webhooks, decoded; empty where there is none."""
    found = [release.stored(name)["webhooks"][0]["clientConfig"].get("caBundle", "") for name in CONFIGURATIONS]
    return [base64.b64decode(each) for each in found]


def held(place: ControlPlane) -> str:
    """Who holds the Lease."""
    found = place.kubectl(
        "get", "lease", LEASE_NAME, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=json"
    ).stdout
    return str(json.loads(found)["spec"].get("holderIdentity", "")) if found else ""


@pytest.mark.parametrize("either", ["helm", "helm4"], indirect=True)
def test_an_upgrade_takes_nothing_from_the_controller(either: Helm, place: ControlPlane, tmp_path: Path) -> None:
    release = Release(either, place, APART)
    release.install()
    with release.controller(tmp_path):
        wait_until(lambda: all(bundles(release)), "caBundle is written", SECONDS)
        before = bundles(release)
    upgraded = release.upgrade(over(APART, {"admission": {"validating": {"timeoutSeconds": 7}}}))
    assert bundles(upgraded) == before
    assert upgraded.stored(CONFIGURATIONS[1])["webhooks"][0]["timeoutSeconds"] == 7
    assert all(upgraded.exists("secret", name) for name in SECRETS)
    with Jobs(place, NAMESPACE) as jobs:
        upgraded.uninstall()
    assert_gone(upgraded, jobs)


@pytest.mark.parametrize(
    ("either", "removed"), [("helm", True), ("helm4", False)], ids=["Remove", "Keep"], indirect=["either"]
)
def test_uninstall_leaves_all_objects_or_none(
    either: Helm, place: ControlPlane, place_admin: Client, tmp_path: Path, removed: bool
) -> None:
    values = over(APART, {"cleanup": {"virtualServices": "Remove" if removed else "Keep"}})
    release = Release(either, place, values)
    release.install()
    team = Team.create(place, place_admin, f"team-{either.program.name}-{removed}".lower())
    with release.controller(tmp_path) as controller:
        hosts = [team.host(f"host-{number}") for number in range(20)]
        team.store(team.entry(hosts=hosts), team.foreign("theirs", "theirs.example.com"))
        team.expect(*hosts, "theirs")
        with Jobs(place, NAMESPACE) as jobs:
            release.uninstall()
        # Those that still run have nothing left to do it with.
        assert controller.child.running
        log = controller.child.log.read_text()
        assert "stopped leading: handed Lease" in log
        assert [line for line in log.splitlines() if "403 Forbidden" in line] == []
        assert_gone(release, jobs)
        team.expect("theirs", *([] if removed else hosts))
    assert_gone(release, jobs)
    team.expect("theirs", *([] if removed else hosts))


def assert_gone(release: Release, jobs: Jobs) -> None:
    """Nothing of the release is left, and nothing that its controller made but what it was to keep."""
    assert jobs.results[f"{RELEASE}-uninstall"].returncode == 0, jobs.results
    installed = [f"{one['kind']}/{one['metadata']['name']}" for one in release.objects()]
    made = [*(f"secret/{name}" for name in SECRETS), f"lease/{LEASE_NAME}"]
    assert release.existing(*installed, *made) == []


def test_uninstall_names_the_remaining_objects_and_can_be_run_again(
    helm: Helm, place: ControlPlane, place_admin: Client, tmp_path: Path
) -> None:
    values = over(APART, {"cleanup": {"virtualServices": "Remove", "timeoutSeconds": 60}})
    release = Release(helm, place, values)
    release.install()
    team = Team.create(place, place_admin, "finalized")
    with release.controller(tmp_path):
        team.store(team.entry())
        team.virtual_service()
    finalizer = {"metadata": {"finalizers": ["example.com/hold"]}}
    team.patch(team.host(), finalizer)
    with Jobs(place, NAMESPACE) as jobs, pytest.raises(subprocess.CalledProcessError):
        release.uninstall()
    assert (
        f"1 VirtualServices are left, such as {team.namespace}/{team.host()}"
        in jobs.results[f"{RELEASE}-uninstall"].stderr
    )
    assert not any(release.exists(name) for name in CONFIGURATIONS)
    team.patch(team.host(), {"metadata": {"finalizers": []}})
    jobs = Jobs(place, NAMESPACE)
    jobs.run_new()
    assert not jobs.results, "the Job of the first attempt has ended"
    with jobs:
        release.uninstall()
    assert_gone(release, jobs)
    team.expect()


def test_controller_and_hook_use_all_rights_that_the_chart_grants_and_need_no_other(
    helm: Helm, place: ControlPlane, place_admin: Client, tmp_path: Path, log: Path
) -> None:
    require_engine(place, Engine.NATIVE)
    both_kinds: Values = {"policy": {"destinationRule": {"enabled": True}}, "cleanup": {"virtualServices": "Remove"}}
    native = Release(helm, place, over(APART, both_kinds, {"admission": {"engine": "native"}}))
    native.install()
    with Jobs(place, NAMESPACE):
        native.uninstall()  # where no controller ever led, the hook makes the Lease
    native.install()
    team = Team.create(place, place_admin, "rights")
    place.kubectl("create", "--filename", cached(OPEN_REPORTS))
    wait_until(lambda: serves_reports(place_admin), "reports are served", SECONDS)  # the controller looks once a minute
    with native.controller(tmp_path):
        wait_until(lambda: becomes_dns(team), "the API server itself mutates", SECONDS)
        wait_until(lambda: native.exists(*REFUSING), "it refuses too", SECONDS)
        team.store(team.entry(resolution="NONE"))
        wait_until(lambda: len(emitted(place_admin, team.namespace)) == 2, "its objects are there", SECONDS)
        wait_until(lambda: bool(reported(team)), "its report is there", SECONDS)
        have_pods_told(team)
    release = native.upgrade(over(APART, both_kinds))
    with release.controller(tmp_path):
        wait_until(lambda: not becomes_dns(team), "the API server mutates no more", SECONDS)
        wait_until(lambda: all(bundles(release)), "caBundle is written", SECONDS)
        wait_until(lambda: not backstop_objects(place_admin), "no backstop is left", SECONDS)
        garble(release, SECRETS[0])
        with Jobs(place, NAMESPACE):
            release.uninstall()
    assert not reported(team)
    assert rights_for(KEPT, used(done_by(log, "controller"))) == rights_for(KEPT, granted(native))
    assert without_older_reports(used(done_by(log, "uninstall"))) == without_older_reports(
        granted(release, "uninstall")
    )


def serves_reports(admin: Client) -> bool:
    """Whether the API server knows reports by now."""
    with suppress(NotFound):
        admin.list_page(REPORT, limit=1)
        return True
    return False


def without_older_reports(rights: Rights) -> Rights:
    """All rights but those on the kind of report of which there is none here."""
    return {what: verbs for what, verbs in rights.items() if what != OLDER_REPORTS}


def backstop_objects(admin: Client) -> list[Object]:
    """All admission policies and their bindings."""
    return [one for _, one in stored_policies(admin)]


def becomes_dns(team: Team) -> bool:
    """Whether an entry with NONE would be stored with DNS, though no webhook is asked.

    It is refused where the API server knows the policies that refuse, and not yet, or no more, those that change.
    """
    dry_run = ("create", "--dry-run=server", "--output=jsonpath={.spec.resolution}")
    return team.kubectl(*dry_run, manifest=team.entry("probe", resolution="NONE"), check=False).stdout == "DNS"


def rights_for(groups: tuple[str, ...], rights: Rights) -> Rights:
    """Those on resources of these API groups."""
    return {place: verbs for place, verbs in rights.items() if place[0] in groups}


def garble(release: Release, secret: str) -> None:
    """Spoil the key in a Secret, and wait until the controller has put it right."""
    patch = json.dumps({"data": {"tls.key": base64.b64encode(b"garbled").decode()}})
    release.cluster.kubectl("patch", "secret", secret, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")

    def repaired() -> bool:
        return b"PRIVATE KEY" in base64.b64decode(release.stored("secret", secret)["data"]["tls.key"])

    wait_until(repaired, "it is repaired", SECONDS)


def done_by(log: Path, component: str) -> list[dict[str, Any]]:
    """What an account did. A controller whose rights were taken away goes on asking; the hook is never refused."""
    name = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-{component}"
    done = [event for event in events(log) if event["user"]["username"] == name]
    refused = [event for event in done if event["responseStatus"]["code"] == 403]
    assert not refused or component == "controller"
    return [event for event in done if event not in refused]


def test_the_command_says_that_a_controller_still_runs(helm: Helm, place: ControlPlane, tmp_path: Path) -> None:
    release = Release(helm, place, APART)
    release.install()
    with release.controller(tmp_path):
        wait_until(lambda: bool(held(place)), "it leads", SECONDS)
        uninstall = [*_command(place), "--timeout=5"]
        refused = subprocess.run(uninstall, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "is still renewed by a controller: stop it, or take its rights away with --revoke" in refused.stderr
    done = subprocess.run(_command(place), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not release.exists("lease", LEASE_NAME)
    release.uninstall("--no-hooks")
    assert not any(release.exists(one["kind"], one["metadata"]["name"]) for one in release.objects())


def _command(place: ControlPlane) -> list[str]:
    return [*COMMAND, "uninstall", f"--kubeconfig={place.kubeconfig}", f"--namespace={NAMESPACE}"]
