"""Other installations of the product in the cluster: Leases of the same name in other namespaces.

Each installation elects a leader with a Lease in its own namespace. Two installations would write the same objects
with different policies. So an installation looks for a held Lease in another namespace before and after it acquires
its own: of two that start at the same time, at least one sees the other.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.kube.apply import list_all
from app.kube.client import Client, Object
from app.kube.errors import Forbidden
from app.kube.resources import LEASES

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rival:
    """A Lease that another installation holds."""

    namespace: str
    name: str
    holder: str

    def __str__(self) -> str:
        """Name the Lease and its holder."""
        return f"Lease {self.namespace}/{self.name} is held by {self.holder}"


class Rivals:
    """Finds a holder of the Lease `name` in another namespace; not safe for threads.

    A Lease that is not renewed has no holder. Because clocks differ, this shows only in a record that stays unchanged
    for the duration of the Lease.
    """

    def __init__(self, client: Client, namespace: str, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._seen: dict[str, tuple[Object, float]] = {}  # by namespace: a record, and since when
        self._warned = False

    def find(self) -> Rival | None:
        """Return another active installation; raises ApiError. A missing right is logged once instead."""
        try:
            leases = list(list_all(self._client, LEASES, field_selector=f"metadata.name={self._name}"))
        except Forbidden as error:
            if not self._warned:
                _log.warning("cannot list Leases to find other installations: %s", error)
            self._warned = True
            return None
        found = [rival for lease in leases if (rival := self._judge(lease))]
        return min(found, key=lambda rival: rival.namespace, default=None)

    def _judge(self, lease: Object) -> Rival | None:
        namespace, spec = lease["metadata"]["namespace"], lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        if namespace == self._namespace or not holder:
            return None
        record, since = self._seen.get(namespace, (None, 0.0))
        if record != spec:
            since = self._clock()
            self._seen[namespace] = spec, since
        if self._clock() >= since + spec.get("leaseDurationSeconds", 0):
            return None
        return Rival(namespace, self._name, holder)
