"""A slow but healthy upstream: 3 s for every answer, longer than a try may take."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from tests.mesh.application import Application, Outcomes, at_once
from tests.mesh.arms import OFF, RECIPE
from tests.mesh.manifests import entry
from tests.mesh.mesh import Mesh
from tests.mesh.networks import plain_address
from tests.mesh.trial import Findings, Trial
from tests.mesh.upstreams import Upstream

TITLE = "6 A slow upstream"
CIRCUMSTANCES = "every answer takes 3 s"
ANSWER_SECONDS = 3.0
APPLICATIONS = 20
MENDED = replace(RECIPE, label="the recipe, annotation `per-try-timeout: 8s`")


def trials(mesh: Mesh) -> Iterator[Trial]:
    """Guard off, the recipe, and the recipe with the annotation that mends it."""
    for slug, arm, annotations in (
        ("slow", OFF, {}),
        ("slow", RECIPE, {}),
        ("slow-mended", MENDED, {"per-try-timeout": "8s"}),
    ):
        host = f"{slug}.{arm.namespace}.example"
        upstream = mesh.upstream(plain_address(), delay=ANSWER_SECONDS)
        mesh.names.point(host, upstream.address)
        manifest = entry(arm, host, annotations=annotations)
        yield Trial(
            TITLE,
            CIRCUMSTANCES,
            arm,
            [manifest],
            partial(_work, partial(Application, mesh.pod(arm), host), upstream),
            waits=True,
        )


def _work(connect: Callable[[], Application], upstream: Upstream) -> Findings:
    outcomes = Outcomes()
    at_once([partial(outcomes.send, connect(), "GET", f"/{number}") for number in range(APPLICATIONS)])
    most = max(upstream.seen.values())
    return Findings(outcomes, f"the upstream saw each request {most} times" if most > 1 else "", {"most": most})
