"""Nothing that worked before gets worse: the case files, and clusters as people have them."""

from typing import Any

import pytest

from app.core.reader import parse_policy
from tests.cases import CASES, Case
from tests.harm.field import CLUSTERS, Cluster
from tests.harm.generator import Generator
from tests.harm.known import KNOWN, entries_of
from tests.harm.trial import harms_in_every_world


def _param(cluster: Cluster) -> Any:
    marks = [pytest.mark.xfail(reason=cluster.known)] if cluster.known else []
    return pytest.param(cluster, id=cluster.name, marks=marks)


@pytest.mark.parametrize("cluster", [_param(one) for one in CLUSTERS])
def test_no_cluster_of_the_field_gets_worse(generator: Generator, cluster: Cluster) -> None:
    assert harms_in_every_world(generator, cluster.objects, cluster.policy) == [], cluster.rule


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_case_gets_worse(generator: Generator, case: Case) -> None:
    objects = [case.manifest(), *case.beside]
    assert harms_in_every_world(generator, objects, parse_policy(case.guard_policy())) == [], case.rule


def test_the_kinds_of_clusters_that_are_known_to_get_worse_stand_in_the_field() -> None:
    assert {cluster.name for cluster in CLUSTERS if cluster.known} == {*KNOWN}
    assert all(KNOWN[cluster.name](entries_of(cluster.objects)) for cluster in CLUSTERS if cluster.known)
