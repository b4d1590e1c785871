"""An upstream that ends the connection on every fifth request, behind TLS: whether anybody can retry."""

from collections.abc import Callable, Iterator
from functools import partial

from tests.mesh.application import Application, hammer
from tests.mesh.arms import IDLE_TIMEOUT, OFF, ORIGINATION, RECIPE
from tests.mesh.manifests import HTTP, TLS, entry
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.firewall import TITLE_TLS
from tests.mesh.scenarios.termination import CUT_EVERY
from tests.mesh.trial import Findings, Trial

PASSTHROUGH, ORIGINATED = (f"{way}: every 5th request is cut" for way in ("passthrough", "origination"))
APPLICATIONS, REQUESTS = 4, 125


def trials(mesh: Mesh) -> Iterator[Trial]:
    """The application speaks TLS itself, which nothing can retry; or plain HTTP, and its sidecar TLS."""
    for arm in (OFF, RECIPE, IDLE_TIMEOUT, ORIGINATION):
        host = f"tls-cut.{arm.namespace}.example"
        upstream = mesh.upstream(plain_address(), 443, cut_every=CUT_EVERY, tls=mesh.serving_tls(host))
        mesh.names.point(host, upstream.address)
        if arm is ORIGINATION:
            circumstances, port, connect = (
                ORIGINATED,
                {**HTTP, "targetPort": 443},
                partial(Application, mesh.pod(arm), host),
            )
        else:
            circumstances, port = PASSTHROUGH, TLS
            connect = partial(Application, mesh.pod(arm), host, 443, tls=mesh.trusting_tls())
        yield Trial(TITLE_TLS, circumstances, arm, [entry(arm, host, port)], partial(_work, connect))


def _work(connect: Callable[[], Application]) -> Findings:
    return Findings(hammer([connect] * APPLICATIONS, REQUESTS))
