"""An upstream that ends the connection on every fifth request, without an answer."""

from collections.abc import Callable, Iterator
from functools import partial

from tests.mesh.application import Application, hammer
from tests.mesh.arms import BACKOFF, OFF, ONE_REQUEST, RECIPE
from tests.mesh.manifests import entry
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.trial import Findings, Trial
from tests.mesh.upstreams import Upstream

TITLE = "1 Connections that end"
CUT = "every 5th request is cut"
CUT_EVERY = 5
APPLICATIONS, REQUESTS = 4, 125


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Guard off, the recipe, and what does not help."""
    for arm in (OFF, RECIPE, BACKOFF, ONE_REQUEST):
        host = f"cut.{arm.namespace}.example"
        upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
        mesh.names.point(host, upstream.address)
        yield Trial(
            TITLE, CUT, arm, [entry(arm, host)], partial(_work, partial(Application, mesh.pod(arm), host), upstream)
        )


def _work(connect: Callable[[], Application], upstream: Upstream) -> Findings:
    outcomes = hammer([connect] * APPLICATIONS, REQUESTS)
    return Findings(outcomes, facts={"seen": upstream.seen.total()})
