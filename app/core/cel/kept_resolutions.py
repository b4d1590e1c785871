"""In CEL: entries that keep their resolution because one of the namespace that names the same host keeps its own.

CEL sees one object. So the stored entries that keep another resolution stand in the expressions as a literal, as far as
there is room for them. The controller writes the expressions anew when they change.
"""

import json
from collections import Counter, defaultdict

from app.core.cel.namespaces import NAMESPACE
from app.core.rules.kept_resolutions import Place, Standing

ROOM = 60_000
"""Most characters of the literal: an expression has up to 100,000."""
_HOSTS = f"variables.siblings[{NAMESPACE}]"
_OTHERS = f'{_HOSTS}[h].exists(n, n != object.metadata.?name.orValue(""))'
KEPT = f"({NAMESPACE} in variables.siblings && variables.canonical.exists(h, h in {_HOSTS} && {_OTHERS}))"
"""Whether an entry shares a host with another one that keeps its resolution; `siblings` is a variable."""


def in_turns(standing: Standing) -> list[Place]:
    """Order places so that namespaces take turns: a namespace with very many hosts leaves room for those of others."""
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
        names = [one.name for one in standing[namespace, host]]
        room -= len(json.dumps({namespace: {host: names}}))
        if room < 0:
            break
        found[namespace][host] = names
    return json.dumps(found, sort_keys=True)
