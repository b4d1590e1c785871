"""The model: for each entry, what may be stored, by what the API server has said of each write.

An acknowledged write is the only state that its entry may have. A write with a definite rejection left the entry as it
was. A write without an answer may or may not have happened: both states are possible, until the next acknowledged one.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.resources.service_entry import Key

State = str | None
"""The spec of an entry as JSON; None where there is no entry."""
Absent = frozenset[State]({None})


def state(spec: Mapping[str, Any]) -> State:
    """The spec of an entry, as the guard has to store it."""
    return json.dumps({**spec, "resolution": "DNS"}, sort_keys=True)


@dataclass
class Ledger:
    """What each entry may be. Each key is used by one thread only."""

    possible: dict[Key, frozenset[State]] = field(default_factory=dict)

    def of(self, key: Key) -> frozenset[State]:
        """The states that an entry may have."""
        return self.possible.get(key, Absent)

    def acknowledged(self, key: Key, after: State) -> None:
        """The API server has said that this is stored."""
        self.possible[key] = frozenset({after})

    def unknown(self, key: Key, after: State) -> None:
        """The API server has not said whether this is stored."""
        self.possible[key] = self.of(key) | {after}

    def copy(self) -> "Ledger":
        """The model of this moment, for a cluster that will be restored to it."""
        return Ledger(copy.copy(self.possible))

    def lost(self, stored: Mapping[Key, Mapping[str, Any]]) -> list[Key]:
        """The entries that are stored in a state which they cannot have, or are gone, or are left over."""
        found = {key: json.dumps(spec, sort_keys=True) for key, spec in stored.items()}
        return sorted(
            (key for key in {*self.possible, *found} if found.get(key) not in self.of(key)),
            key=str,
        )
