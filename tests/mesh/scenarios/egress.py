"""A host behind an egress gateway: the worked example of docs/egress-gateway.md, tried."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from app.kube.client import Object
from tests.mesh.ambient_arms import CALLER, CALLER_PLAIN, EGRESS
from tests.mesh.ambient_mesh import AmbientMesh
from tests.mesh.application import Application, hammer
from tests.mesh.arms import Arm
from tests.mesh.manifests import HTTP, entry
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.termination import CUT, CUT_EVERY
from tests.mesh.trial import Findings, Trial

TITLE = "12 Behind an egress gateway"
EXAMPLE = Path(__file__).parents[3] / "examples" / "egress-gateway"
HOST, GATEWAY = "api.partner.example", "istio-egressgateway.egress.svc.cluster.local"
APPLICATIONS, REQUESTS = 4, 50


def trials(mesh: AmbientMesh) -> Iterator[Trial]:
    """The example without its retries, and as it is."""
    endpoints = [{"address": mesh.egress.address}]
    shared = [entry(EGRESS, GATEWAY, HTTP, location="MESH_INTERNAL", resolution="STATIC", endpoints=endpoints)]
    for arm in (CALLER_PLAIN, CALLER):
        host = HOST if arm is CALLER else f"plain.{HOST}"
        upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
        mesh.names.point(host, upstream.address)
        connects = [partial(Application, mesh.beside(arm.namespace), host)] * APPLICATIONS
        yield Trial(TITLE, CUT, arm, [*shared, *_example(arm, host)], partial(_work, mesh, connects))
        shared = []


def _work(mesh: AmbientMesh, connects: list[Any]) -> Findings:
    found = hammer(connects, REQUESTS)
    served = json.loads(mesh.ask_egress("/stats?format=json&filter=downstream_rq_total"))
    return Findings(found, facts={"through the gateway": sum(one.get("value", 0) for one in served["stats"])})


def _example(arm: Arm, host: str) -> Iterator[Object]:
    """Yield the files of the example; one that is only compared with it has another namespace, and no retries."""
    for path in sorted(EXAMPLE.glob("*.yaml")):
        text = path.read_text().replace(HOST, host)
        if arm is not CALLER:
            text = text.replace("namespace: payments", f"namespace: {arm.namespace}").replace("partners", "plain")
        document = yaml.safe_load(text)
        for route in document["spec"].get("http", ()) if arm is not CALLER else ():
            route.pop("retries", None)
        yield document
