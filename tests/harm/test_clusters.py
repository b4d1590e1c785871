"""Nothing that worked before gets worse, whatever the cluster: the rule, held against generated ones."""

import os
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy
from tests.harm.generator import Generator
from tests.harm.guarded import EARLY, LATE, World, change
from tests.harm.strategies import clusters, policies
from tests.harm.trial import hold

pytestmark = pytest.mark.generated

EXAMPLES = int(os.environ.get("HARM_EXAMPLES", "0"))
"""How many clusters `make deep` asks for in all, new ones each time. Without it they are few, and always the same."""


def _settings(usual: int) -> settings:
    return settings(
        max_examples=EXAMPLES // 4 or usual,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def _worse(
    generator: Generator, cluster: list[dict[str, Any]], policy: GuardPolicy, world: World, emitted_at: str
) -> list[str]:
    made = change(cluster, policy, world, emitted_at)
    if made.before == made.after:
        return []
    note(yaml.safe_dump_all(cluster, sort_keys=False))
    note(f"policy: {policy.written}, world: {world.name}, emitted at {emitted_at}")
    return [str(one) for one in hold(generator, cluster, policy, world, emitted_at=emitted_at, tenancy=True).harms]


@pytest.mark.parametrize("world", World)
def test_no_cluster_gets_worse(generator: Generator, world: World) -> None:
    @_settings(40)
    @given(clusters(), policies(), st.sampled_from([EARLY, LATE]))
    def holds(cluster: list[dict[str, Any]], policy: GuardPolicy, emitted_at: str) -> None:
        assert _worse(generator, cluster, policy, world, emitted_at) == []

    holds()


def test_no_cluster_with_http_routes_gets_worse(generator: Generator) -> None:
    @_settings(20)
    @given(clusters(routes=True), policies(), st.sampled_from([EARLY, LATE]))
    def holds(cluster: list[dict[str, Any]], policy: GuardPolicy, emitted_at: str) -> None:
        assert _worse(generator, cluster, policy, World.REMEDIATED, emitted_at) == []

    holds()
