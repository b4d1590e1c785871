"""Objects that many tests build."""

from collections.abc import Iterable

from app.core.index import Index
from app.core.observed import Observed
from app.core.resources import ServiceEntry


def indexed(entries: Iterable[ServiceEntry], observed: Iterable[Observed] = ()) -> Index:
    """An index of some entries and objects."""
    index = Index()
    for number, entry in enumerate(entries):
        index.put_entry(None, entry, number)
    for one in observed:
        index.put_object(None, one)
    return index
