"""The parts of the page about traffic, DNS, exemptions and namespaces."""

from collections.abc import Iterator, Sequence

from app.core.insight.calls import Ending
from app.core.insight.cluster import Insight, Overview, Usage
from app.core.insight.dns_load import DnsLoad
from app.core.insight.forecast import Cut, Forecast
from app.core.insight.suggestions import annotations
from app.core.resources.quantities import count, rate, share, shares
from app.core.rules.annotations import PER_TRY_TIMEOUT
from app.manifests.writer import dump
from app.report.insight import elsewhere_sentence, notable, quiet_hosts
from app.report.markup import Bar, Cell, bars, items, table, text, yaml_block

BARS = 15
"""Maximum number of bars of a kind."""
UNANSWERED = (Ending.TERMINATED, Ending.UNREACHED, Ending.EXHAUSTED)
"""The endings of a call with 503, which the recipe repairs."""


def sections(insight: Insight, overview: Overview) -> Iterator[str]:
    """Yield the parts after the entries."""
    if insight.usage:
        yield from _usage(insight.usage)
    if insight.dns:
        yield from _dns(insight.dns)
    yield from _exemptions(overview)
    yield from _owned(overview)
    yield from _namespaces(insight, overview)


def _usage(usage: Usage) -> Iterator[str]:
    called = notable(usage.forecasts)
    yield f"<h2>Hosts by calls that end with 503, in {usage.window.words}</h2>\n"
    failing = sorted(called, key=lambda forecast: -_unanswered(forecast) / max(forecast.figures.calls, 1))
    yield from _bars(
        [_failed_bar(forecast) for forecast in failing if _unanswered(forecast)], "No call ended with 503."
    )
    yield "<h2>Hosts whose calls would be ended and repeated</h2>\n"
    cut = [(forecast, each) for forecast in called for each in forecast.cuts if each.annotation == PER_TRY_TIMEOUT]
    cut.sort(key=lambda pair: -pair[1].most / max(pair[0].figures.calls, 1))
    yield from _bars([_cut_bar(*pair) for pair in cut], "No call takes longer than perTryTimeout.")
    yield "<h2>Calls by host</h2>\n"
    heads = (("Host", "half"), ("Calls", "narrow"), ("What enforcement does", ""), ("To keep the calls", "half"))
    yield from table(heads, (("", _row(forecast)) for forecast in called))
    if quiet := quiet_hosts(usage.forecasts):
        yield f"<p>No traffic in {usage.window.words}: {text(', '.join(quiet))}.</p>\n"
    if usage.elsewhere:
        yield "<h2>Calls to hosts without a ServiceEntry</h2>\n"
        yield items(text(elsewhere_sentence(found)) for found in usage.elsewhere)


def _unanswered(forecast: Forecast) -> float:
    return sum(forecast.figures.endings.get(how, 0.0) for how in UNANSWERED)


def _failed_bar(forecast: Forecast) -> Bar:
    part, calls = _unanswered(forecast), forecast.figures.calls
    return Bar(forecast.host, part / max(calls, 1), f"{share(part, calls)} of {count(calls)}")


def _cut_bar(forecast: Forecast, cut: Cut) -> Bar:
    calls = forecast.figures.calls
    return Bar(forecast.host, cut.most / max(calls, 1), f"{shares(cut.least, cut.most, calls)} over {cut.limit}")


def _bars(found: Sequence[Bar], nothing: str) -> Iterator[str]:
    if not found:
        yield f"<p>{nothing}</p>\n"
        return
    yield from bars(found[:BARS])
    if len(found) > BARS:
        yield f'<p class="soft">And {len(found) - BARS} more.</p>\n'


def _row(forecast: Forecast) -> tuple[Cell, ...]:
    host = f'<strong>{text(forecast.host)}</strong><br><span class="soft">ServiceEntry {text(forecast.entry)}</span>'
    number = forecast.figures.calls or forecast.figures.connections
    callers = items(
        f"{text(caller.namespace)}: {count(caller.figures.calls or caller.figures.connections)}"
        for caller in forecast.callers
    )
    manifests = "".join(yaml_block("annotations", dump(manifest)) for manifest in annotations([forecast]))
    said = items(map(text, forecast.sentences))
    return Cell(host), Cell(f"{count(number)}{callers}", f"{number:.0f}"), Cell(said), Cell(manifests)


def _dns(dns: DnsLoad) -> Iterator[str]:
    yield f"<h2>DNS queries</h2>\n<p>{text(dns.sentence)}.</p>\n"
    most = max((entry.queries for entry in dns.entries), default=1.0)
    found = [
        Bar(f"ServiceEntry {entry.key}", entry.queries / most if most else 0.0, f"{rate(entry.queries)} a second")
        for entry in dns.entries
    ]
    yield from _bars(found, "No ServiceEntry causes DNS queries.")


def _exemptions(overview: Overview) -> Iterator[str]:
    if ending := overview.ending:
        yield "<h2>Exemptions that end</h2>\n"
        yield items(f"<strong>{exemption.until}</strong> ServiceEntry {text(exemption.entry)}" for exemption in ending)


def _owned(overview: Overview) -> Iterator[str]:
    if overview.owned:
        yield "<h2>Hosts that belong to another namespace</h2>\n"
        yield items(f"ServiceEntry {text(key)}: {text(message)}" for key, message in overview.owned)


def _namespaces(insight: Insight, overview: Overview) -> Iterator[str]:
    names = sorted({*insight.stored, *overview.to_write})
    if names:
        yield "<h2>Objects of the guard by namespace</h2>\n"
        heads = (("Namespace", ""), ("Stored", "narrow"), ("To write", "narrow"))
        stored, new = insight.stored, overview.to_write
        rows = (("", (Cell(text(name)), Cell(str(stored.get(name, 0))), Cell(str(new[name])))) for name in names)
        yield from table(heads, rows)
