"""What is stored, and whether it is what must be: by the ledger for the entries, by the core for all else."""

from dataclasses import dataclass

from app.core.policy.model import default_policy
from app.core.resources.namespaces import Namespace
from app.core.resources.service_entry import Key, ServiceEntry
from app.core.routes.observed import Observed
from app.core.routes.plan import changes, desired
from app.kube.apply import list_all
from app.kube.client import Client
from app.kube.errors import ApiError
from app.kube.resources import EMITTED, NAMESPACES, SERVICE_ENTRIES
from tests.chaos.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs from what must be, as text for a person; empty if nothing does."""

    lost: tuple[str, ...] = ()
    """Entries whose acknowledged state is not stored."""
    lacking: tuple[str, ...] = ()
    """Objects that are missing or are not as the core decides them."""
    left: tuple[str, ...] = ()
    """Objects of the guard that no entry asks for."""
    unread: str = ""
    """Why the state could not be read."""

    @property
    def right(self) -> bool:
        """Whether nothing differs."""
        return not (self.lost or self.lacking or self.left or self.unread)

    @property
    def count(self) -> int:
        """How much differs."""
        return len(self.lost) + len(self.lacking) + len(self.left)


def difference(client: Client, ledger: Ledger) -> Difference:
    """Compare what is stored with what must be."""
    try:
        entries = list(list_all(client, SERVICE_ENTRIES))
        namespaces = [Namespace.parse(item) for item in list_all(client, NAMESPACES)]
        observed = [Observed.parse(item) for each in EMITTED.values() for item in list_all(client, each)]
    except ApiError as error:
        return Difference(unread=str(error))
    known = {each.namespace for each in ledger.possible}
    stored = {
        Key(item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"]
        for item in entries
        if item["metadata"]["namespace"] in known
    }
    plan = desired(map(ServiceEntry.parse, entries), default_policy(), observed, namespaces)
    todo = changes(plan, observed)
    return Difference(
        tuple(f"{key}: {stored.get(key)}, not {set(ledger.of(key))}" for key in ledger.lost(stored)),
        tuple(f"{emitted.kind} {emitted.key}" for emitted, _ in todo.apply),
        tuple(f"{found.kind} {found.key}" for found in todo.delete),
    )
