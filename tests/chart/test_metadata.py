"""What the chart says of itself: its icon, and whether its image can be found."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bed.control_plane import ControlPlane
from tests.chart.helm import NAMESPACE, RELEASE, Helm
from tests.documents import as_text
from tools.reference.chart import CHART

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'1' * 64}"


def test_the_icon_is_that_of_the_site_and_is_loaded_from_nowhere() -> None:
    icon = yaml.safe_load((CHART / "Chart.yaml").read_text())["icon"]
    kind, _, encoded = icon.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(encoded) == (ROOT / "docs/assets/favicon.svg").read_bytes()


def rehearse(
    helm: Helm, cluster: ControlPlane, values: dict[str, Any], *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Install the chart as a dry run, with what it looks up in the cluster."""
    return helm.run(
        "install", RELEASE, CHART, "--dry-run=server", f"--namespace={NAMESPACE}", "--values=-",
        stdin=as_text(values), kubeconfig=cluster.kubeconfig, check=check,
    )  # fmt: skip


@pytest.mark.e2e
def test_a_second_release_in_a_cluster_is_refused_by_the_name_of_the_first(
    helm: Helm, helm4: Helm, cluster: ControlPlane
) -> None:
    first = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {
            "name": "first",
            "labels": {"app.kubernetes.io/part-of": "serviceentry-guard"},
            "annotations": {"meta.helm.sh/release-name": "first", "meta.helm.sh/release-namespace": "elsewhere"},
        },
    }
    cluster.kubectl("create", "--filename=-", stdin=json.dumps(first))
    try:
        for each in (helm, helm4):
            refused = rehearse(each, cluster, {}, check=False)
            assert refused.returncode == 1
            assert "release first in namespace elsewhere has installed serviceentry-guard" in refused.stderr
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", "first")


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, True),
        ({"image": {"tag": "other"}}, True),
        ({"image": {"registry": "registry.example.com/mesh"}}, False),
        ({"global": {"imageRegistry": "registry.example.com"}}, False),
        ({"image": {"digest": DIGEST}}, False),
    ],
)
def test_an_image_without_a_registry_is_a_warning_that_names_the_one_value_to_set(
    helm: Helm, helm4: Helm, cluster: ControlPlane, values: dict[str, Any], warned: bool
) -> None:
    for each in (helm, helm4):
        notes = rehearse(each, cluster, values).stdout.partition("NOTES:\n")[2]
        assert ("Set image.registry" in notes) == warned
        assert "is installed in namespace" in notes
