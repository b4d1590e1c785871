"""What the chart renders is what the API server takes: its schemas, its admission, its PodSecurity."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bed.control_plane import ControlPlane
from tests.chart.helm import NAMESPACE, Helm, Manifest
from tests.chart.schemas import LOCATION, write_schemas
from tests.chart.test_rendering import pod_specs
from tests.chart.value_sets import SETS
from tests.documents import as_stream, documents

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> dict[str, str]:
    """All objects of each set, as text."""
    return {name: helm.template(values) for name, values in SETS.items()}


@pytest.fixture(scope="module")
def schemas(cluster: ControlPlane, rendered: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the JSON Schemas of all kinds that are rendered."""
    folder = tmp_path_factory.mktemp("schemas")
    objects = [one for text in rendered.values() for one in documents(text)]
    write_schemas(cluster, folder, {one["apiVersion"] for one in objects})
    return folder


def conform(program: Path, schemas: Path, text: str) -> tuple[int, dict[str, Any]]:
    """What kubeconform makes of it."""
    command = [str(program), "-strict", "-summary", "-output=json", f"-schema-location={schemas}/{LOCATION}", "-"]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return result.returncode, json.loads(result.stdout)


@pytest.mark.parametrize("name", SETS)
def test_kubeconform_has_nothing_to_say(
    programs: dict[str, Path], schemas: Path, rendered: dict[str, str], name: str
) -> None:
    code, said = conform(programs["kubeconform"], schemas, rendered[name])
    assert said.get("resources", []) == []
    assert said["summary"]["skipped"] == 0
    assert said["summary"]["valid"] == len(documents(rendered[name]))
    assert code == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("failurePolicy: Ignore", "failurePolice: Ignore"),
        ("timeoutSeconds: 3", 'timeoutSeconds: "3"'),
        ("automountServiceAccountToken: false", "automountServiceAccountTokens: false"),
    ],
)
def test_kubeconform_would_say_so(
    programs: dict[str, Path], schemas: Path, rendered: dict[str, str], right: str, wrong: str
) -> None:
    assert right in rendered["default"]
    code, said = conform(programs["kubeconform"], schemas, rendered["default"].replace(right, wrong))
    assert code == 1
    assert said["summary"]["invalid"] >= 1


@pytest.mark.parametrize("name", SETS)
def test_the_api_server_takes_every_object_and_has_no_warning(
    cluster: ControlPlane, rendered: dict[str, str], name: str
) -> None:
    applied = cluster.kubectl(
        "create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=elsewhere(rendered[name])
    )
    assert applied.stderr == ""
    assert len(applied.stdout.splitlines()) == len(documents(rendered[name]))


@pytest.fixture(scope="module")
def restricted(cluster: ControlPlane) -> str:
    """A namespace in which PodSecurity enforces the level restricted."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}}
    cluster.kubectl("create", "--filename=-", stdin=json.dumps(manifest))
    return "restricted"


@pytest.mark.parametrize("name", [name for name in SETS if name != "node-network"])
def test_pods_are_let_into_a_restricted_namespace(
    cluster: ControlPlane, restricted: str, rendered: dict[str, str], name: str
) -> None:
    for component, spec in pod_specs(documents(rendered[name])):
        created = create_pod(cluster, restricted, f"{name}-{component}", {**spec, "priorityClassName": ""})
        assert created.stderr == ""
        assert created.returncode == 0


def test_podsecurity_is_in_force_there(cluster: ControlPlane, restricted: str, helm: Helm) -> None:
    for component, spec in pod_specs(helm.objects({"webhook": {"hostNetwork": True, "port": 10260}})):
        refused = create_pod(cluster, restricted, f"host-{component}", {**spec, "priorityClassName": ""})
        assert ("violates PodSecurity" in refused.stderr) == ("webhook" in component)


def create_pod(
    cluster: ControlPlane, namespace: str, name: str, spec: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Create a pod; nobody runs it."""
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    return cluster.kubectl("create", "--filename=-", stdin=json.dumps(manifest), check=False)


def elsewhere(text: str) -> str:
    """The objects with other names in another namespace, so that none is there already."""
    objects: list[Manifest] = documents(text)
    for one in objects:
        one["metadata"]["name"] += "-dry"
        if one["metadata"].get("namespace") in {NAMESPACE, "elsewhere"}:
            one["metadata"]["namespace"] = "default"
    return as_stream(objects)
