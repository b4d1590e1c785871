"""The parts of a report after the entries, as lines and as JSON: ending exemptions, objects, traffic, DNS queries."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from app.core.insight.cluster import Ends, Insight, Overview, Usage
from app.core.resources.quantities import count
from app.core.resources.service_entry import Key
from app.report import Report

if TYPE_CHECKING:  # most reports have no figures of traffic
    from app.core.insight.calls import Elsewhere
    from app.core.insight.forecast import Caller, Cut, Forecast

SHOWN = 20
"""Maximum number of lines of a kind in a text; JSON and HTML have all of them."""
NAMED = 5
"""Maximum number of hosts in a sentence."""


def insight_lines(report: Report) -> Iterator[str]:
    """Yield lines of text; none if there is nothing to report."""
    yield from _overview(report.overview, report.insight)
    if report.insight.dns:
        yield f"DNS: {report.insight.dns.sentence}"
        costly = report.insight.dns.entries[:NAMED]
        yield from (f"  ServiceEntry {entry.key}: {entry.queries:.3g} queries a second" for entry in costly)
    if report.insight.usage:
        yield from _usage(report.insight.usage)


def insight_document(report: Report) -> dict[str, Any]:
    """Return these parts as JSON; call it after all entries are written."""
    overview, insight = report.overview, report.insight
    document: dict[str, Any] = {
        "exemptions": [{"until": exemption.until, **_key(exemption)} for exemption in overview.ending],
        "owned": [{**_named(key), "message": message} for key, message in overview.owned],
        "namespaces": _namespaces(overview, insight),
    }
    if insight.dns:
        document["dns"] = _dns(insight)
    if insight.usage:
        document["traffic"] = _traffic(insight.usage)
    return document


def notable(forecasts: "Sequence[Forecast]") -> "list[Forecast]":
    """Return the forecasts of hosts with calls."""
    return [forecast for forecast in forecasts if not forecast.quiet]


def quiet_hosts(forecasts: "Sequence[Forecast]") -> list[str]:
    """Return the hosts without calls, of any entry."""
    called = {forecast.host for forecast in forecasts if not forecast.quiet}
    return sorted({forecast.host for forecast in forecasts} - called)


def elsewhere_sentence(elsewhere: "Elsewhere") -> str:
    """Return the sentence about calls of a namespace to a host without an entry."""
    what = f"{count(elsewhere.calls)} calls" if elsewhere.calls else f"{count(elsewhere.connections)} connections"
    host = "an unknown host" if elsewhere.host in {"", "unknown", elsewhere.cluster} else elsewhere.host
    blocked = "were blocked" if elsewhere.cluster == "BlackHoleCluster" else "were passed through"
    return (
        f"{what} from {elsewhere.namespace} to {host} {blocked} ({elsewhere.cluster}): no ServiceEntry names the host"
    )


def _overview(overview: Overview, insight: Insight) -> Iterator[str]:
    ending = overview.ending
    if ending:
        yield "Exemptions that end:"
        yield from (f"  {exemption.until}  ServiceEntry {exemption.entry}" for exemption in ending[:SHOWN])
        yield from _left(ending)
    if overview.owned:
        yield "Hosts that belong to another namespace:"
        yield from (f"  ServiceEntry {key}: {message}" for key, message in overview.owned[:SHOWN])
        yield from _left(overview.owned)
    if insight.stored:
        yield "Objects of the guard by namespace:"
        rows = _namespaces(overview, insight)
        yield from (f"  {row['namespace']}: {row['stored']} stored, {row['toWrite']} to write" for row in rows[:SHOWN])
        yield from _left(rows)


def _left(lines: Sequence[object]) -> Iterator[str]:
    if len(lines) > SHOWN:
        yield f"  and {len(lines) - SHOWN} more"


def _usage(usage: Usage) -> Iterator[str]:
    called = notable(usage.forecasts)
    yield f"Traffic of the last {usage.window.words}, sorted by the effect of enforcement:"
    for forecast in called[:SHOWN]:
        yield f"  {forecast.host} (ServiceEntry {forecast.entry})"
        yield from (f"    {sentence}" for sentence in forecast.sentences)
    yield from _left(called)
    if quiet := quiet_hosts(usage.forecasts):
        more = f", and {len(quiet) - NAMED} more" if len(quiet) > NAMED else ""
        yield f"  no traffic in {usage.window.words}: {', '.join(quiet[:NAMED])}{more}"
    yield from (f"  {elsewhere_sentence(elsewhere)}" for elsewhere in usage.elsewhere[:SHOWN])
    yield from _left(usage.elsewhere)


def _namespaces(overview: Overview, insight: Insight) -> list[dict[str, Any]]:
    names = sorted({*overview.to_write, *insight.stored})
    return [
        {"namespace": name, "stored": insight.stored.get(name, 0), "toWrite": overview.to_write[name]} for name in names
    ]


def _dns(insight: Insight) -> dict[str, Any]:
    dns = insight.dns
    if dns is None:
        return {}
    return {
        "proxies": dns.proxies,
        "ttlSeconds": dns.ttl,
        "queriesPerSecond": {"now": round(dns.before, 3), "enforced": round(dns.after, 3)},
        "entries": [
            {
                **_named(entry.key),
                "clusters": entry.clusters,
                "proxies": entry.proxies,
                "queries": round(entry.queries, 3),
            }
            for entry in dns.entries
        ],
    }


def _traffic(usage: Usage) -> dict[str, Any]:
    return {
        "window": usage.window.text,
        "hosts": [_forecast(forecast) for forecast in usage.forecasts],
        "elsewhere": [
            {
                "host": elsewhere.host,
                "cluster": elsewhere.cluster,
                "namespace": elsewhere.namespace,
                "calls": round(elsewhere.calls),
                "connections": round(elsewhere.connections),
            }
            for elsewhere in usage.elsewhere
        ],
    }


def _forecast(forecast: "Forecast") -> dict[str, Any]:
    from app.core.insight.calls import Ending  # noqa: PLC0415 - see above

    return {
        "host": forecast.host,
        **_named(forecast.entry),
        "calls": round(forecast.figures.calls),
        "connections": round(forecast.figures.connections),
        "failed": {
            how.flag: round(forecast.figures.endings[how]) for how in Ending if forecast.figures.endings.get(how)
        },
        "changed": round(forecast.changed),
        "cuts": [_cut(cut) for cut in forecast.cuts],
        "callers": [_caller(caller) for caller in forecast.callers],
        "sentences": list(forecast.sentences),
        "annotations": forecast.annotations,
    }


def _caller(caller: "Caller") -> dict[str, Any]:
    return {
        "namespace": caller.namespace,
        "calls": round(caller.figures.calls),
        "connections": round(caller.figures.connections),
        "failed": round(caller.figures.failed),
        "cuts": [_cut(cut) for cut in caller.cuts],
    }


def _cut(cut: "Cut") -> dict[str, Any]:
    return {
        "annotation": cut.annotation,
        "longerThan": str(cut.limit),
        "least": round(cut.least),
        "most": round(cut.most),
        **({"keeps": str(cut.keeps)} if cut.keeps else {}),
    }


def _key(exemption: Ends) -> dict[str, str]:
    return _named(exemption.entry)


def _named(key: Key) -> dict[str, str]:
    return {"namespace": key.namespace, "name": key.name}
