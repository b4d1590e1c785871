"""Helm and the chart, without a cluster, and with one on which its product runs as the chart has it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from app.core.cel.admission_policy import Engine, backstop
from app.core.policy.reader import parse_policy
from app.kube.client import Client
from app.kube.resources import ADMISSION_POLICIES
from tests.bed.administrator import administrator
from tests.bed.binaries import provide as provide_bed
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import HOST, Controller, Webhook
from tests.cases import CASES
from tests.chart.helm import NAMESPACE, Helm, provide
from tests.chart.release import Release
from tests.documents import as_text, parsed
from tests.e2e.backstops import engines
from tests.e2e.team import GUARDED, Team
from tests.e2e.test_cases_e2e import override

NUMBERS = count(1)
PROBED = "guard-probe"
"""A namespace that the webhooks are asked for, in which nothing is stored."""
EXEMPTIONS = {"annotation": "Allow"}
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{NAMESPACE}"]},
        {"level": "Metadata", "resources": [{"group": "networking.istio.io", "resources": ["serviceentries"]}]},
        {"level": "None"},
    ],
}


def audited(log: Path) -> list[str]:
    """Arguments of an API server that logs what the chart's accounts do, and what is done to ServiceEntries."""
    policy = log.with_name("policy.yaml")
    policy.write_text(as_text(AUDIT_POLICY))
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking"]


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> dict[str, Path]:
    """Helm 3, Helm 4, kubeconform and definitions of other operators; made first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return provide()


@pytest.fixture(scope="session")
def helm(programs: dict[str, Path]) -> Helm:
    """Helm 3."""
    return Helm(programs["helm"])


@pytest.fixture(scope="session")
def helm4(programs: dict[str, Path]) -> Helm:
    """Helm 4."""
    return Helm(programs["helm4"])


@pytest.fixture(scope="session")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server of these tests writes its audit log."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="session")
def cluster(audit_log: Path, programs: dict[str, Path]) -> Iterator[ControlPlane]:
    """A control plane of its own, which knows cert-manager's and the Prometheus operator's resources too."""
    with ControlPlane(provide_bed(), audited(audit_log)) as cluster:
        for name, path in programs.items():
            if name.endswith(".yaml"):
                cluster.kubectl("create", "--filename", path)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield cluster


@pytest.fixture(scope="session")
def admin(cluster: ControlPlane) -> Iterator[Client]:
    """The API server as its administrator sees it."""
    yield from administrator(cluster)


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Webhook, Path]]:
    """The webhook, a process outside of the cluster with the policies of all cases, and its policy.

    Where no case has a say, teams may exempt their entries.
    """
    folder = tmp_path_factory.mktemp("webhook")
    policy = folder / "policy.yaml"
    document = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy"}
    layers = [override(case) for case in CASES]
    policy.write_text(as_text({**document, "exemptions": EXEMPTIONS, "namespaces": layers}))
    with Webhook(folder, [f"--policy={policy}"]) as webhook:
        yield webhook, policy


@pytest.fixture(scope="session")
def probed(cluster: ControlPlane, admin: Client) -> Team:
    """The namespace of the doctor's dry runs, which has to be there: the chart grants a right in it."""
    return Team.create(cluster, admin, PROBED, GUARDED)


@pytest.fixture(scope="session")
def release(
    helm: Helm,
    cluster: ControlPlane,
    outside: tuple[Webhook, Path],
    probed: Team,  # noqa: ARG001 - has to be there
) -> Release:
    """The chart, installed for that webhook, for the namespaces that are labelled for it."""
    webhook, policy = outside
    values = {
        "webhook": {"url": f"https://{HOST}:{webhook.port}"},
        "certificates": {"mode": "provided", "caBundle": webhook.authority.certificate.decode()},
        "admission": {
            "namespaceSelector": {"matchLabels": GUARDED},
            "mutating": {"timeoutSeconds": 5},
            "validating": {"timeoutSeconds": 5},
        },
        "doctor": {"probeNamespace": PROBED},
        "policy": {"exemptions": EXEMPTIONS, "namespaces": parsed(policy.read_text())["namespaces"]},
    }
    release = Release(helm, cluster, values)
    release.install()
    return release


def leave_a_backstop(admin: Client, engine: Engine) -> None:
    """Make the objects of a backstop for a namespace that does not exist, as an earlier release had them."""
    document = {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", "mode": "Off"}
    nobody = parse_policy({**document, "namespaces": [{"match": ["nobody"], "mode": "Enforce"}]})
    for manifest in backstop(nobody, engine):
        admin.create(ADMISSION_POLICIES[manifest["kind"]], manifest)


@pytest.fixture(scope="session")
def leftover(admin: Client, cluster: ControlPlane) -> None:
    """What an earlier release has left."""
    leave_a_backstop(admin, engines(cluster)[-1])


@pytest.fixture(scope="session")
def product(
    leftover: None,  # noqa: ARG001 - has to be there
    release: Release,
    outside: tuple[Webhook, Path],
    probed: Team,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Webhook, Controller]]:
    """Webhook and controller as the chart has them, and a backstop of an earlier time for the leader to remove."""
    with release.controller(tmp_path_factory.mktemp("controller")) as controller:
        probed.wait_until_guarded()
        yield outside[0], controller


@pytest.fixture(scope="session")
def webhook(product: tuple[Webhook, Controller]) -> Webhook:
    """The running webhook."""
    return product[0]


@pytest.fixture(scope="session")
def controller(product: tuple[Webhook, Controller]) -> Controller:
    """The running controller, as its ServiceAccount."""
    return product[1]


@pytest.fixture
def team(cluster: ControlPlane, admin: Client, product: object) -> Team:  # noqa: ARG001 - has to run
    """A team under guard."""
    return Team.create(cluster, admin, f"team-{next(NUMBERS)}", GUARDED)


@pytest.fixture
def unguarded(cluster: ControlPlane, admin: Client, product: object) -> Team:  # noqa: ARG001 - has to run
    """A team whose namespace the webhook is not asked for: what it stores, the webhook has missed."""
    return Team.create(cluster, admin, f"unguarded-{next(NUMBERS)}")
