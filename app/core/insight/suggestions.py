"""The suggestions of a forecast as manifests: annotations for ServiceEntries, or a policy for their namespaces."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.core.insight.forecast import FIELDS, Forecast
from app.core.policy.model import API_VERSION, KIND, Dns, GuardPolicy
from app.core.resources.durations import Duration
from app.core.resources.fields import JSON
from app.core.resources.globs import matches
from app.core.resources.service_entry import API_VERSION as ISTIO_VERSION
from app.core.resources.service_entry import PREFIX


def annotations(forecasts: Iterable[Forecast]) -> Iterator[JSON]:
    """Yield a fragment of each ServiceEntry that needs annotations; for several hosts, the longest value is used."""
    for key, values in sorted(
        _longest((forecast.entry, forecast) for forecast in forecasts).items(), key=lambda forecast: str(forecast[0])
    ):
        if granted := {name: str(value) for name, (value, allowed) in values.items() if allowed}:
            metadata = {"namespace": key.namespace, "name": key.name}
            written = {PREFIX + name: text for name, text in sorted(granted.items())}
            yield {
                "apiVersion": ISTIO_VERSION,
                "kind": "ServiceEntry",
                "metadata": {**metadata, "annotations": written},
            }


def policy_for(forecasts: Iterable[Forecast], policy: GuardPolicy) -> JSON | None:
    """Return a policy with longer timeouts for the namespaces that need them; None if none does.

    Each namespace keeps its other settings, because only the first matching item of `namespaces` applies.
    """
    by_namespace = _longest((forecast.entry.namespace, forecast) for forecast in forecasts)
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
    """Collect the longest suggested value of each annotation, by entry or namespace, and whether it is allowed."""
    found = defaultdict[Any, _Values](dict)
    for key, forecast in pairs:
        for cut in forecast.cuts:
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
    return {name: _copied(item) for name, item in value.items()} if isinstance(value, Mapping) else value
