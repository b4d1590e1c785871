"""One cluster for all tests here."""

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.bed.binaries import provide_sidecars
from tests.bed.errors import BedError
from tests.bed.require import give_up
from tests.bed.tools import HELM
from tests.chart.helm import Helm
from tests.chart.helm import provide as provide_helm
from tests.cluster import evidence
from tests.cluster.cluster import Cluster
from tests.cluster.earlier import Earlier
from tests.cluster.earlier import earlier as provide_earlier
from tests.cluster.image import image_archive, tag
from tests.cluster.load import NAMESPACES
from tests.cluster.release import NAMESPACE, Release
from tests.cluster.requirements import complaint, unsuitable
from tests.cluster.traces import Traces

RESTRICTED = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "quota", "namespace": NAMESPACE},
    "spec": {"hard": {"requests.cpu": "1", "requests.memory": "2Gi", "limits.memory": "4Gi", "pods": "12"}},
}
LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "limits", "namespace": NAMESPACE},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}, "default": {"cpu": "1"}}]},
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have the report of a test that failed say what the cluster looked like."""
    report = yield
    cluster = item.funcargs.get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        report.sections.append(("the cluster then", evidence.seen(cluster.plane)))
    return report


@pytest.fixture(scope="session")
def before() -> Traces:
    """What there is on the machine before the cluster.

    Where there can be none, tests are skipped, with the reason. They fail in CI for all that can be installed.
    """
    if reason := unsuitable():
        pytest.skip(reason)
    if reason := complaint():
        give_up(reason)
    return Traces.seen()


@pytest.fixture(scope="session")
def cluster(
    before: Traces,  # noqa: ARG001 - it skips
    helm: Helm,  # noqa: ARG001 - it comes first, as the next two
    sidecars: Mapping[str, Path],  # noqa: ARG001
    earlier: Earlier | None,  # noqa: ARG001
) -> Iterator[Cluster]:
    """Two nodes that know the image. Ends the run, with the reason, where there can be none.

    Inside of its network nothing can be fetched: what is built is built before.
    """
    try:
        image = image_archive()
        with Cluster() as cluster:
            cluster.load(image, tag())
            cluster.apply(RESTRICTED, QUOTA, LIMITS, *map(namespace, ("team", *NAMESPACES)))
            yield cluster
    except BedError as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def sidecars() -> Mapping[str, Path]:
    """What Istio and its sidecars are made of."""
    return provide_sidecars()


@pytest.fixture(scope="session")
def earlier(before: Traces, tmp_path_factory: pytest.TempPathFactory) -> Earlier | None:  # noqa: ARG001 - it says why not
    """The release before this one."""
    return provide_earlier(tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm 3."""
    return Helm(provide_helm([HELM])["helm"])


@pytest.fixture(scope="session")
def release(cluster: Cluster, helm: Helm) -> Release:
    """The release, which the first test installs."""
    return Release(helm, cluster)


def namespace(name: str) -> dict[str, object]:
    """A namespace of a team."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
