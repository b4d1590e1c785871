"""Nothing that worked before gets worse: the case files, and clusters as people have them."""

import pytest

from app.core.policy.reader import parse_policy
from tests.cases import CASES, Case
from tests.harm.field import CLUSTERS, Cluster
from tests.harm.generator import Generator
from tests.harm.trial import harms_in_every_world


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: cluster.name)
def test_no_cluster_of_the_field_gets_worse(generator: Generator, cluster: Cluster) -> None:
    assert harms_in_every_world(generator, cluster.objects, cluster.policy) == [], cluster.rule


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_case_gets_worse(generator: Generator, case: Case) -> None:
    objects = [case.manifest(), *case.beside]
    assert harms_in_every_world(generator, objects, parse_policy(case.guard_policy())) == [], case.rule
