"""Other installations of the product in the cluster: Leases of the same name in other namespaces.

Each installation elects a leader by a Lease of its own namespace. Two installations would write the same objects, each
what its own policy says. So one that is not leading yet looks whether a Lease of another namespace is held, before and
after it takes its own: of two that come at the same time, one at least sees the other.
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
        """Say which one."""
        return f"Lease {self.namespace}/{self.name} is held by {self.holder}"


class Rivals:
    """Finds who holds the Lease `name` in another namespace; not for use from several threads.

    A Lease that nobody renews is held by nobody. As clocks differ, that is seen by a record that stays as it is for as
    long as the Lease lasts.
    """

    def __init__(self, client: Client, namespace: str, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._seen: dict[str, tuple[Object, float]] = {}  # by namespace: a record, and since when
        self._warned = False

    def find(self) -> Rival | None:
        """Return an installation that acts; raises ApiError, but for a missing right, which is told once."""
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
