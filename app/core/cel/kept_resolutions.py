"""In CEL: entries that keep their resolution because a sibling keeps its own.

CEL sees one object only. So the expressions contain the stored entries that keep their resolution as a literal, as far
as there is room. The controller writes the expressions again when these entries change.
"""

import json
from collections import Counter, defaultdict

from app.core.cel.namespaces import NAMESPACE
from app.core.rules.kept_resolutions import Place, Standing

ROOM = 60_000
"""Maximum length of the literal; an expression has up to 100,000 characters."""
_HOSTS = f"variables.siblings[{NAMESPACE}]"
_OTHERS = f'{_HOSTS}[h].exists(n, n != object.metadata.?name.orValue(""))'
KEPT = f"({NAMESPACE} in variables.siblings && variables.canonical.exists(h, h in {_HOSTS} && {_OTHERS}))"
"""The condition that a sibling of the entry keeps its resolution; `siblings` is a variable."""


def in_turns(standing: Standing) -> list[Place]:
    """Sort places so that namespaces take turns: a namespace with very many hosts leaves room for others."""
    turns = Counter[str]()
    ordered = list[tuple[int, Place]]()
    for namespace, host in sorted(standing):
        ordered.append((turns[namespace], (namespace, host)))
        turns[namespace] += 1
    return [place for _, place in sorted(ordered)]


def siblings(standing: Standing) -> str:
    """Return the literal: names of entries, by host, by namespace."""
    found, room = defaultdict[str, dict[str, list[str]]](dict), ROOM
    for namespace, host in in_turns(standing):
        names = [entry.name for entry in standing[namespace, host]]
        room -= len(json.dumps({namespace: {host: names}}))
        if room < 0:
            break
        found[namespace][host] = names
    return json.dumps(found, sort_keys=True)
