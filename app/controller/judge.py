"""The verdict on each entry, made once for all who ask: a change of an entry is of interest to several."""

import threading
from collections import OrderedDict

from app.core.policy import GuardPolicy
from app.core.resources import ServiceEntry
from app.core.verdict import Verdict, review

LIMIT = 256
"""Verdicts that are kept: those who ask do so one after another, at once."""


class Judge:
    """Reviews entries, and remembers the last `limit` verdicts; safe for use from several threads.

    An entry is known by being the same object: one that changed is another, and so is a policy that was loaded anew.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        # An identity says whose it is only while the object is there: so it is kept beside its verdict.
        self._made: OrderedDict[int, tuple[ServiceEntry, GuardPolicy, Verdict]] = OrderedDict()

    def __call__(self, entry: ServiceEntry, policy: GuardPolicy) -> Verdict:
        """Return what `review` says."""
        made = self._made.get(id(entry))
        if made and made[1] is policy:
            return made[2]
        verdict = review(entry, policy)
        with self._lock:
            self._made[id(entry)] = (entry, policy, verdict)
            if len(self._made) > self._limit:
                self._made.popitem(last=False)
        return verdict
