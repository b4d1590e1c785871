"""Kubelets are made to bring what changed to the pods at once: by an annotation on each."""

from itertools import count
from typing import Any

import pytest

from app.controller.pod_sync import ANNOTATION, Mounted, PodSync
from app.kube.client import Client, Object
from app.kube.resources import CONFIG_MAPS, PODS, SECRETS

pytestmark = pytest.mark.e2e
NUMBERS = count(1)


def pod(client: Client, namespace: str, labels: dict[str, str], **annotations: str) -> str:
    """A pod that nobody runs."""
    name = f"pod-{next(NUMBERS)}"
    metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}
    spec = {"containers": [{"name": "a", "image": "a"}], "automountServiceAccountToken": False}
    client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return name


def put(client: Client, kind: str, namespace: str, value: str) -> None:
    """A ConfigMap or Secret with this content."""
    resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
    field: dict[str, Any] = {"data": {"a": value}} if kind == "ConfigMap" else {"stringData": {"a": value}}
    metadata = {"name": "mounted", "namespace": namespace}
    client.apply(resource, {"apiVersion": "v1", "kind": kind, "metadata": metadata, **field}, force=True)


def test_every_pod_gets_a_new_annotation_when_its_mounted_config_map_or_secret_changes(
    api: Client, namespace: str
) -> None:
    def versions() -> list[str | None]:
        found: list[Object] = [api.get(PODS, namespace, name) for name in ours]
        return [one["metadata"].get("annotations", {}).get(ANNOTATION) for one in found]

    ours = [pod(api, namespace, {"app": "guard"}), pod(api, namespace, {"app": "guard"}, other="kept")]
    foreign = pod(api, namespace, {"app": "other"})
    sync = PodSync(api, Mounted(namespace, "app=guard", ("mounted",), "mounted"))
    seen = list[str | None]()
    for kind, value in (("", ""), ("ConfigMap", "1"), ("Secret", "1"), ("ConfigMap", "2")):
        if kind:
            put(api, kind, namespace, value)
        sync.check()
        first, second = versions()
        assert first == second
        assert first
        assert first not in seen
        seen.append(first)
    sync.check()
    assert versions() == [seen[-1]] * 2, "nothing changed"
    assert api.get(PODS, namespace, ours[1])["metadata"]["annotations"]["other"] == "kept"
    assert ANNOTATION not in api.get(PODS, namespace, foreign)["metadata"].get("annotations", {})


def test_a_new_leader_annotates_what_lacks_the_version(api: Client, namespace: str) -> None:
    put(api, "ConfigMap", namespace, "1")
    mounted = Mounted(namespace, "app=guard", ("mounted",))
    first = pod(api, namespace, {"app": "guard"})
    PodSync(api, mounted).check()
    late = pod(api, namespace, {"app": "guard"})
    PodSync(api, mounted).check()
    versions = {api.get(PODS, namespace, name)["metadata"]["annotations"][ANNOTATION] for name in (first, late)}
    assert len(versions) == 1
