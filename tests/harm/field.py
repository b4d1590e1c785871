"""Clusters as people have them on which the guard once did harm, or could have: the files of the folder `field`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.core.policy.model import API_VERSION, KIND, GuardPolicy
from app.core.policy.reader import parse_policy
from tests.documents import parsed
from tests.harm.protocol import Manifest

FOLDER = Path(__file__).with_name("field")


@dataclass(frozen=True)
class Cluster:
    """The objects of a cluster, and the policy of its guard."""

    name: str
    rule: str
    objects: list[Manifest]
    policy: GuardPolicy


def load() -> Iterator[Cluster]:
    """Yield the cluster of each file."""
    for path in sorted(FOLDER.glob("*.yaml")):
        document = parsed(path.read_text())
        policy = parse_policy({"apiVersion": API_VERSION, "kind": KIND, **document.get("policy", {})})
        yield Cluster(path.stem, document["rule"], document["objects"], policy)


CLUSTERS = list(load())
