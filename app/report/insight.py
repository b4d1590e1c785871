"""What a report says after the entries: exemptions that end, objects, traffic and DNS queries; as lines and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.core.insight.calls import Elsewhere, Ending
from app.core.insight.cluster import Ends, Insight, Overview, Usage
from app.core.insight.forecast import Caller, Cut, Forecast
from app.core.resources.quantities import count
from app.core.resources.service_entry import Key
from app.report import Report

SHOWN = 20
"""Most lines of a kind in a text, which people read; JSON and HTML have all of them."""
NAMED = 5
"""Most hosts that a sentence names."""


def insight_lines(report: Report) -> Iterator[str]:
    """Yield lines for people, nothing where there is nothing to say."""
    yield from _overview(report.overview, report.insight)
    if report.insight.dns:
        yield f"DNS: {report.insight.dns.sentence}"
        dearest = report.insight.dns.entries[:NAMED]
        yield from (f"  ServiceEntry {one.key}: {one.queries:.3g} queries a second" for one in dearest)
    if report.insight.usage:
        yield from _usage(report.insight.usage)


def insight_document(report: Report) -> dict[str, Any]:
    """Return what there is to say, as JSON; read once all entries are written."""
    overview, insight = report.overview, report.insight
    document: dict[str, Any] = {
        "exemptions": [{"until": one.until, **_key(one)} for one in overview.ending],
        "owned": [{**_named(key), "message": message} for key, message in overview.owned],
        "namespaces": _namespaces(overview, insight),
    }
    if insight.dns:
        document["dns"] = _dns(insight)
    if insight.usage:
        document["traffic"] = _traffic(insight.usage)
    return document


def notable(forecasts: Sequence[Forecast]) -> list[Forecast]:
    """Return the forecasts of hosts that something calls."""
    return [one for one in forecasts if not one.quiet]


def quiet_hosts(forecasts: Sequence[Forecast]) -> list[str]:
    """Return the hosts that nothing calls, whichever entry names them."""
    called = {one.host for one in forecasts if not one.quiet}
    return sorted({one.host for one in forecasts} - called)


def elsewhere_sentence(one: Elsewhere) -> str:
    """Say what a namespace called without an entry."""
    what = f"{count(one.calls)} calls" if one.calls else f"{count(one.connections)} connections"
    host = "an unknown host" if one.host in {"", "unknown", one.cluster} else one.host
    blocked = "were blocked" if one.cluster == "BlackHoleCluster" else "were passed through"
    return f"{what} from {one.namespace} to {host} {blocked} ({one.cluster}): no ServiceEntry names the host"


def _overview(overview: Overview, insight: Insight) -> Iterator[str]:
    ending = overview.ending
    if ending:
        yield "Exemptions that end:"
        yield from (f"  {one.until}  ServiceEntry {one.entry}" for one in ending[:SHOWN])
        yield from _left(ending)
    if overview.owned:
        yield "Hosts that belong to another namespace:"
        yield from (f"  ServiceEntry {key}: {message}" for key, message in overview.owned[:SHOWN])
        yield from _left(overview.owned)
    if insight.stored:
        yield "Objects of the guard by namespace:"
        rows = _namespaces(overview, insight)
        yield from (f"  {one['namespace']}: {one['stored']} stored, {one['toWrite']} to write" for one in rows[:SHOWN])
        yield from _left(rows)


def _left(lines: Sequence[object]) -> Iterator[str]:
    if len(lines) > SHOWN:
        yield f"  and {len(lines) - SHOWN} more"


def _usage(usage: Usage) -> Iterator[str]:
    called = notable(usage.forecasts)
    yield f"Traffic of the last {usage.window.words}, the hosts first for which enforcement changes most:"
    for one in called[:SHOWN]:
        yield f"  {one.host} (ServiceEntry {one.entry})"
        yield from (f"    {sentence}" for sentence in one.sentences)
    yield from _left(called)
    if quiet := quiet_hosts(usage.forecasts):
        more = f", and {len(quiet) - NAMED} more" if len(quiet) > NAMED else ""
        yield f"  no traffic in {usage.window.words}: {', '.join(quiet[:NAMED])}{more}"
    yield from (f"  {elsewhere_sentence(one)}" for one in usage.elsewhere[:SHOWN])
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
            {**_named(one.key), "clusters": one.clusters, "proxies": one.proxies, "queries": round(one.queries, 3)}
            for one in dns.entries
        ],
    }


def _traffic(usage: Usage) -> dict[str, Any]:
    return {
        "window": usage.window.text,
        "hosts": [_forecast(one) for one in usage.forecasts],
        "elsewhere": [
            {
                "host": one.host,
                "cluster": one.cluster,
                "namespace": one.namespace,
                "calls": round(one.calls),
                "connections": round(one.connections),
            }
            for one in usage.elsewhere
        ],
    }


def _forecast(one: Forecast) -> dict[str, Any]:
    return {
        "host": one.host,
        **_named(one.entry),
        "calls": round(one.figures.calls),
        "connections": round(one.figures.connections),
        "failed": {how.flag: round(one.figures.endings[how]) for how in Ending if one.figures.endings.get(how)},
        "changed": round(one.changed),
        "cuts": [_cut(cut) for cut in one.cuts],
        "callers": [_caller(caller) for caller in one.callers],
        "sentences": list(one.sentences),
        "annotations": one.annotations,
    }


def _caller(caller: Caller) -> dict[str, Any]:
    return {
        "namespace": caller.namespace,
        "calls": round(caller.figures.calls),
        "connections": round(caller.figures.connections),
        "failed": round(caller.figures.failed),
        "cuts": [_cut(cut) for cut in caller.cuts],
    }


def _cut(cut: Cut) -> dict[str, Any]:
    return {
        "annotation": cut.annotation,
        "longerThan": str(cut.limit),
        "least": round(cut.least),
        "most": round(cut.most),
        **({"keeps": str(cut.keeps)} if cut.keeps else {}),
    }


def _key(one: Ends) -> dict[str, str]:
    return _named(one.entry)


def _named(key: Key) -> dict[str, str]:
    return {"namespace": key.namespace, "name": key.name}
