"""What a forecast suggests, as manifests: annotations for the ServiceEntries, or a policy for their namespaces."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.core.insight.forecast import FIELDS, Forecast
from app.core.policy.model import API_VERSION, KIND, Dns, GuardPolicy
from app.core.resources.durations import Duration
from app.core.resources.globs import matches
from app.core.resources.service_entry import API_VERSION as ISTIO_VERSION
from app.core.resources.service_entry import JSON, PREFIX


def annotations(forecasts: Iterable[Forecast]) -> Iterator[JSON]:
    """Yield a part of each ServiceEntry that needs annotations; of several hosts the longest value counts."""
    for key, values in sorted(_longest((one.entry, one) for one in forecasts).items(), key=lambda one: str(one[0])):
        if granted := {name: str(value) for name, (value, allowed) in values.items() if allowed}:
            metadata = {"namespace": key.namespace, "name": key.name}
            written = {PREFIX + name: text for name, text in sorted(granted.items())}
            yield {
                "apiVersion": ISTIO_VERSION,
                "kind": "ServiceEntry",
                "metadata": {**metadata, "annotations": written},
            }


def policy_for(forecasts: Iterable[Forecast], policy: GuardPolicy) -> JSON | None:
    """Return a policy with longer timeouts for the namespaces that need them; None where none does.

    Each namespace keeps what the policy says about it: only the first entry of `namespaces` that matches counts.
    """
    by_namespace = _longest((one.entry.namespace, one) for one in forecasts)
    layers = [_layer(name, values, policy) for name, values in sorted(by_namespace.items()) if values]
    if not layers:
        return None
    base = policy.written[0]
    kept = [
        {"match": list(override.match), **written}
        for override, written in zip(policy.namespaces, policy.written[1:], strict=False)
    ]
    dns = {} if policy.dns == Dns() else {"dns": {"maxQueriesPerSecond": policy.dns.max_queries_per_second}}
    return {"apiVersion": API_VERSION, "kind": KIND, **base, **dns, "namespaces": [*layers, *kept]}


_Values = dict[str, tuple[Duration, bool]]


def _longest(pairs: Iterable[tuple[Any, Forecast]]) -> Mapping[Any, _Values]:
    """Collect the longest suggested value of each annotation, by entry or namespace, and whether it is granted."""
    found = defaultdict[Any, _Values](dict)
    for key, one in pairs:
        for cut in one.cuts:
            if cut.keeps and (cut.annotation not in found[key] or found[key][cut.annotation][0] < cut.keeps):
                found[key][cut.annotation] = cut.keeps, cut.granted
    return found


def _layer(namespace: str, values: _Values, policy: GuardPolicy) -> dict[str, Any]:
    written = (
        layer
        for override, layer in zip(policy.namespaces, policy.written[1:], strict=False)
        if matches(namespace, override.match)
    )
    layer: dict[str, Any] = {"match": [namespace], **_copied(next(written, {}))}
    for name, (value, _) in values.items():
        *path, last = FIELDS[name].split(".")
        place = layer
        for part in path:
            place = place.setdefault(part, {})
        place[last] = str(value)
    return layer


def _copied(value: JSON) -> JSON:
    return {name: _copied(one) for name, one in value.items()} if isinstance(value, Mapping) else value
