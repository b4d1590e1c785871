"""POST requests that the upstream reads and does not answer: how often it sees each."""

from collections.abc import Callable, Iterator
from functools import partial

from tests.mesh.application import Application, hammer
from tests.mesh.arms import OFF, RECIPE, SPLIT
from tests.mesh.manifests import entry
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.scenarios.termination import CUT_EVERY
from tests.mesh.trial import Findings, Trial
from tests.mesh.upstreams import Upstream

TITLE = "5 Requests that must not be repeated"
CIRCUMSTANCES = "every 5th POST is read, then cut"
APPLICATIONS, REQUESTS = 4, 50


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Guard off, the plain recipe, and the recipe split by method."""
    for arm in (OFF, RECIPE, SPLIT):
        host = f"post.{arm.namespace}.example"
        upstream = mesh.upstream(plain_address(), cut_every=CUT_EVERY)
        mesh.names.point(host, upstream.address)
        yield Trial(
            TITLE,
            CIRCUMSTANCES,
            arm,
            [entry(arm, host)],
            partial(_work, partial(Application, mesh.pod(arm), host), upstream),
        )


def _work(connect: Callable[[], Application], upstream: Upstream) -> Findings:
    outcomes = hammer([connect] * APPLICATIONS, REQUESTS, "POST")
    repeated = sum(times > 1 for times in upstream.seen.values())
    most = max(upstream.seen.values())
    facts = {"seen once": sum(times == 1 for times in upstream.seen.values()), "repeated": repeated, "most": most}
    remark = f"{repeated} POSTs seen up to {most} times" if repeated else "no POST seen more than once"
    return Findings(outcomes, remark, facts)
