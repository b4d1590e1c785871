"""The policies that a sequence changes between."""

from tests.builders import guard_policy
from tests.cases import TODAY

LATE, EARLY = "2999-12-31", "2020-01-01"
POLICIES = tuple(
    guard_policy(**document).on(TODAY)
    for document in (
        {},
        {"mode": "Warn"},
        {"existing": "Remediate"},
        {"existing": "Remediate", "resolution": {"unfixable": "Warn", "wildcards": "DynamicDNS", "tcp": "DNS"}},
        {"destinationRule": {"enabled": True, "connectionPool": {"http": {"idleTimeout": "50s"}}}},
        {"virtualService": {"timeout": "5s", "reach": "Namespace", "yieldTo": []}},
        {"namespaces": [{"match": ["beta"], "mode": "Off"}], "existing": "Remediate"},
        {"namespaces": [{"match": ["alpha"], "exemptions": {"hosts": ["*.example.com"]}}]},
        {"limits": {"namespaceObjects": 3, "entryHosts": 2}, "destinationRule": {"enabled": True}},
    )
)
"""Each is one object: the controller compares policies by identity."""
