"""Hypothesis strategies: any JSON, and ServiceEntries near enough to real ones to reach every rule."""

import string
from typing import Any

from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import LOCATIONS, RESOLUTIONS
from tests.cases import TODAY

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

labels = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6).filter(lambda text: not text.isdigit())
names = st.lists(labels, min_size=2, max_size=4).map(".".join)
pool = st.sampled_from(
    [
        *("api.example.com", "API.example.com", "api.example.com.", "b.example.com", "wildcard.example.com"),
        *("Api.payments.example", "x.payments.example.", "reviews.default.svc", "reviews.default.svc.cluster.local"),
    ]
)
wildcards = names.map(lambda name: f"*.{name}") | st.sampled_from(
    ["*.example.com", "*-x.example.com", "*x.example.com", "*.example", "*.payments.example", "*.svc", "*.local"]
)
oddities = st.sampled_from(["localhost", "10.0.0.1", "*", "a_b.example.com", "", ".", "\u212aelvin.example.com"])
hosts = st.one_of(pool, pool, names, wildcards, oddities)
addresses = st.sampled_from(["192.0.2.1", "192.0.2.0/24", "192.0.2.1/32", "2001:db8::1", "2001:db8::/32"])
protocols = st.sampled_from(
    ["HTTP", "http", "HTTP2", "GRPC", "grpc-web", "HTTPS", "TLS", "TCP", "MONGO", "HTTP_PROXY", ""]
)
annotations = st.dictionaries(
    st.sampled_from(["exempt", "attempts", "per-try-timeout", "timeout", "retry-on", "virtual-service", "typo"]).map(
        "serviceentry-guard.io/{}".format
    ),
    st.sampled_from(
        ["", "3", "99", "2s", "9h", "0s", "5xx", "reset,connect-failure", "Disabled", "because", "-1", "\ud800"]
    ),
    max_size=3,
)
exemptions = st.fixed_dictionaries(
    {
        "serviceentry-guard.io/exempt": st.sampled_from(
            ["because", " OPS-1234: moves ", "it moves", "x" * 500, "x" * 501]
        )
    },
    optional={
        "serviceentry-guard.io/exempt-until": st.sampled_from(
            [
                TODAY,
                "2026-06-29",
                "2026-09-28",
                "2026-09-29",
                "2999-12-31",
                "2999-02-29",
                "2996-02-29",
                " 2999-12-31",
                "",
            ]
        )
    },
)


@st.composite
def ports(draw: st.DrawFn) -> list[dict[str, Any]]:
    numbers = draw(st.lists(st.integers(1, 65535), max_size=3, unique=True))
    targets = st.sampled_from([{}, {"targetPort": 443}])
    return [
        {"number": number, "name": f"p{number}", "protocol": draw(protocols), **draw(targets)} for number in numbers
    ]


@st.composite
def manifests(draw: st.DrawFn, host: st.SearchStrategy[str] = hosts) -> dict[str, Any]:
    """A ServiceEntry manifest that Istio's schema would take; its rules may still refuse it."""
    spec: dict[str, Any] = {"hosts": draw(st.lists(host, min_size=1, max_size=3)), "ports": draw(ports())}
    optional = {
        "addresses": st.lists(addresses, max_size=2),
        "location": st.sampled_from(LOCATIONS),
        "resolution": st.sampled_from(RESOLUTIONS),
        "endpoints": st.lists(st.just({"address": "192.0.2.9"}), max_size=2),
        "workloadSelector": st.just({"labels": {"app": "x"}}),
        "exportTo": st.lists(st.sampled_from([".", "*", "other", "team", "~"]), max_size=2),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional)), max_size=4))
    spec |= {name: draw(optional[name]) for name in sorted(chosen)}
    metadata = {
        "name": draw(labels),
        "namespace": draw(st.sampled_from(["team", "other"])),
        "uid": draw(st.uuids()).hex,
        "creationTimestamp": draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])),
        "annotations": draw(st.one_of(annotations, annotations, exemptions)),
        "labels": draw(st.sampled_from([{}, {}, {"istio.io/rev": "canary"}])),
    }
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}


DESTINATION_RULES: list[dict[str, Any]] = [
    {},
    {"enabled": True},
    {"enabled": True, "tlsOrigination": True, "connectionPool": {"tcp": {"tcpKeepalive": {}}}},
    {"enabled": True, "connectionPool": {"http": {"idleTimeout": None}, "tcp": {"maxConnectionDuration": "5m"}}},
    {"enabled": True, "connectionPool": {"http": {"idleTimeout": None}}},
]
LAYERS: list[list[dict[str, Any]]] = [
    [],
    [],
    [{"match": ["other"], "mode": "Warn"}],
    [{"match": ["other"], "mode": "Enforce", "virtualService": {"timeout": "5s"}}],
    [{"match": ["oth*"], "exemptions": {"hosts": ["*.example.com"]}, "existing": "Report"}],
]
"""Settings for one of the namespaces of `manifests`."""


@st.composite
def policies(draw: st.DrawFn) -> GuardPolicy:
    """A policy of any mode, with the settings of the decision table drawn."""
    return parse_policy(
        {
            "apiVersion": "serviceentry-guard.io/v1alpha1",
            "kind": "GuardPolicy",
            "mode": draw(st.sampled_from(["Enforce", "Enforce", "Enforce", "Warn", "Off"])),
            "resolution": {
                "unfixable": draw(st.sampled_from(["Deny", "Warn"])),
                "wildcards": draw(st.sampled_from(["Deny", "DynamicDNS", "Allow"])),
                "static": draw(st.sampled_from(["Allow", "Warn", "Deny"])),
                "tcp": draw(st.sampled_from(["Leave", "Leave", "DNS"])),
            },
            "scope": {"locations": draw(st.sampled_from([["MESH_EXTERNAL"], list(LOCATIONS)]))},
            "exemptions": {"annotation": draw(st.sampled_from(["Allow", "Forbid"]))},
            "virtualService": {
                "unsafeMethods": {"retryOn": draw(st.sampled_from([None, ["connect-failure"]]))},
                "grpc": {"timeout": draw(st.sampled_from([None, "30s"]))},
                "reach": draw(st.sampled_from(["Entry", "Entry", "Namespace"])),
                "yieldTo": draw(st.sampled_from([["*"], [], ["other"]])),
                "overrides": {
                    "reach": draw(st.sampled_from(["Entry", "Namespace"])),
                    "timeout": {"noDeadline": draw(st.sampled_from(["Allow", "Forbid"]))},
                },
            },
            "destinationRule": draw(st.sampled_from(DESTINATION_RULES)),
            "namespaces": draw(st.sampled_from(LAYERS)),
        }
    )
