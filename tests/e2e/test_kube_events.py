"""Events as the real API server takes and kubectl shows them."""

import json
from typing import Any

import pytest

from app.kube.client import Client
from app.kube.events import EventRecorder
from app.kube.resources import Resource
from tests.bed.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

ENTRIES = Resource("networking.istio.io", "v1", "serviceentries", "ServiceEntry")


def entry(namespace: str) -> dict[str, Any]:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return {
        "apiVersion": ENTRIES.api_version,
        "kind": ENTRIES.kind,
        "metadata": {"namespace": namespace, "name": "one"},
        "spec": {"hosts": ["a.example.com"], "ports": ports, "resolution": "DNS"},
    }


def test_an_event_is_in_the_namespace_of_its_object(control_plane: ControlPlane, namespace: str) -> None:
    client = Client.from_kubeconfig(str(control_plane.kubeconfig))
    metadata = client.create(ENTRIES, entry(namespace))["metadata"]
    regarding = {
        "apiVersion": ENTRIES.api_version,
        "kind": ENTRIES.kind,
        **{field: metadata[field] for field in ("namespace", "name", "uid")},
    }
    recorder = EventRecorder(client, "serviceentry-guard", "pod-1")
    recorder.record(regarding, "Foreign", "another one claims a.example.com", "Warning", action="Yield")
    recorder.record(regarding, "Foreign", "another one claims a.example.com", "Warning", action="Yield")
    recorder.start()
    recorder.stop()
    client.close()
    assert recorder.dropped == 0
    shown = control_plane.kubectl("events", "-n", namespace, "--for", "serviceentry/one", "-o", "json").stdout
    # A controller that another test left running has a story of its own to tell of the entry.
    (event,) = [one for one in json.loads(shown)["items"] if one["reason"] == "Foreign"]
    assert event["involvedObject"]["uid"] == metadata["uid"]
    assert (event["type"], event["reason"]) == ("Warning", "Foreign")
    assert event["message"] == "another one claims a.example.com"
