"""Objects that many tests build."""

from collections.abc import Iterable

from app.core.index import Index
from app.core.observed import Observed
from app.core.policy import GuardPolicy
from app.core.resources import ServiceEntry


def indexed(
    entries: Iterable[ServiceEntry], observed: Iterable[Observed] = (), policy: GuardPolicy | None = None
) -> Index:
    """An index of some entries and objects under a policy, the default one if none is given."""
    index = Index(policy)
    for number, entry in enumerate(entries):
        index.put_entry(None, entry, number)
    for one in observed:
        index.put_object(None, one)
    return index
