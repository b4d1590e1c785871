"""The effect of enforcement on the calls to a host: the failures that are retried, and the good calls that are cut.

A forecast compares the figures of a host with its retries and timeouts in the policy. Each sentence has its figure. If
the histogram has no bound at a timeout, the share is a range; a suggested value is always a bound.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from app.core.insight.calls import Ending, Figures, Traffic, together
from app.core.policy.traffic import DurationBounds, Overrides
from app.core.resources.durations import Duration
from app.core.resources.quantities import count, rate, share, shares
from app.core.resources.records import Record, field
from app.core.resources.service_entry import PREFIX, Key
from app.core.routes.candidates import PUBLIC, Candidate, age
from app.core.rules.annotations import PER_TRY_TIMEOUT, TIMEOUT
from app.core.rules.overrides import Tuning

KEPT = 0.999
"""The share of calls that a suggested value keeps."""
REPEATED: Mapping[Ending, frozenset[str]] = {
    Ending.TERMINATED: frozenset({"5xx", "gateway-error", "reset"}),
    Ending.UNREACHED: frozenset({"5xx", "gateway-error", "connect-failure"}),
    Ending.ANSWERED: frozenset({"5xx", "gateway-error"}),
}
"""The retry conditions by which Envoy repeats a call with this ending."""
FIELDS = {PER_TRY_TIMEOUT: "virtualService.retries.perTryTimeout", TIMEOUT: "virtualService.timeout"}
"""The policy's setting that an annotation overrides."""


class Effect(Record):
    """The object of a host: its retries, its timeouts, and the namespaces that see it."""

    attempts: int = 0
    retry_on: frozenset[str] = frozenset()
    per_try_timeout: Duration | None = None
    timeout: Duration | None = None
    seen_by: frozenset[str] = frozenset()
    in_force: bool = False
    """Whether the VirtualService is in the cluster already."""
    withheld: str = ""
    """The reason why nothing is emitted, if any."""

    def reaches(self, namespace: str) -> bool:
        """Say whether the object routes calls from a namespace."""
        return not self.withheld and (PUBLIC in self.seen_by or namespace in self.seen_by)


class Cut(Record):
    """Calls that take longer than a timeout: minimum, maximum, and the value that would keep nearly all."""

    annotation: str
    limit: Duration
    least: float
    most: float
    keeps: Duration | None
    granted: bool = True
    """Whether the policy allows this value of the annotation."""


class Caller(Record):
    """The calls from one namespace."""

    namespace: str
    figures: Figures
    cuts: tuple[Cut, ...] = ()


class Forecast(Record):
    """The findings on the calls to one host that an entry decides."""

    entry: Key
    host: str
    figures: Figures
    callers: tuple[Caller, ...] = ()
    sentences: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()
    repaired: float = 0.0

    @property
    def changed(self) -> float:
        """The number of calls that enforcement changes: failures that it repairs, and good calls that it cuts."""
        return self.repaired + max((cut.most for cut in self.cuts), default=0.0)

    @property
    def quiet(self) -> bool:
        """Whether the host has no calls."""
        return not self.figures.calls and not self.figures.connections

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that would keep nearly all calls, as far as the policy allows them."""
        return {PREFIX + cut.annotation: str(cut.keeps) for cut in self.cuts if cut.keeps and cut.granted}


class _Subject(Record):
    """The calls of a forecast, with everything that decides about them."""

    effect: Effect
    overrides: Overrides
    traffic: Traffic
    figures: Figures
    reached: Figures = field(default_factory=Figures)
    """The calls from namespaces that see the object."""


def effect_of(tuning: Tuning, subject: Candidate, seen_by: frozenset[str], *, in_force: bool) -> Effect:
    """Return the effect for the HTTP ports of an entry; of several ports, the shortest timeouts are used."""
    routings = [tuning.of(port) for port in subject.entry.ports if port.http]
    tries = [each.per_try_timeout for each in routings if each.per_try_timeout]
    whole = [each.timeout for each in routings if each.timeout and each.timeout.milliseconds]
    conditions = frozenset(word for each in routings for word in each.retry_on)
    first_try = min(tries, default=None) if tuning.attempts else None
    return Effect(tuning.attempts, conditions, first_try, min(whole, default=None), seen_by, in_force)


def forecast(  # noqa: PLR0913, PLR0917 - the inputs of a forecast
    entry: Key, host: str, callers: Mapping[str, Figures], effect: Effect, traffic: Traffic, overrides: Overrides
) -> Forecast:
    """Return the forecast for the calls from some namespaces to a host of an entry that decides for them."""
    total = together(callers.values())
    reached = together(figures for name, figures in callers.items() if effect.reaches(name))
    subject = _Subject(effect, overrides, traffic, total, reached)
    cuts = tuple(_cuts(subject, reached))
    repaired = 0.0 if effect.in_force else sum(map(reached.endings.get, _repeated(effect), [0.0] * len(Ending)))
    sentences = (*_summary(subject, callers), *_failures(subject), *(_cut(subject, cut) for cut in cuts))
    by_size = sorted(callers.items(), key=lambda item: (-item[1].calls, item[0]))
    by_caller = tuple(Caller(name, calls, _cuts_of(subject, name, calls)) for name, calls in by_size)
    return Forecast(entry, host, total, by_caller, sentences, cuts, repaired)


def by_change(forecasts: Iterable[Forecast]) -> list[Forecast]:
    """Sort by the effect of enforcement, most changed calls first."""
    return sorted(forecasts, key=lambda each: (-each.changed, -each.figures.failed, -each.figures.calls, each.host))


def deciding(namespace: str, candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the entry that decides a host for a namespace: its own entry, otherwise the oldest one that it sees."""
    seeing = (candidate for candidate in candidates if PUBLIC in candidate.seen_by or namespace in candidate.seen_by)
    return min(seeing, key=lambda candidate: (candidate.key.namespace != namespace, age(candidate.entry)), default=None)


def _repeated(effect: Effect) -> list[Ending]:
    return [how for how, words in REPEATED.items() if effect.attempts and words & effect.retry_on]


def _cuts_of(subject: _Subject, namespace: str, figures: Figures) -> tuple[Cut, ...]:
    return tuple(_cuts(subject, figures)) if subject.effect.reaches(namespace) else ()


def _cuts(subject: _Subject, figures: Figures) -> Iterator[Cut]:
    """Find the calls that are cut: longer than perTryTimeout, or longer than timeout."""
    effect, durations = subject.effect, subject.traffic.durations(figures)
    if effect.in_force:
        return
    least_timeout = 0.0
    for annotation, limit, bounds in (
        (PER_TRY_TIMEOUT, effect.per_try_timeout, subject.overrides.per_try_timeout),
        (TIMEOUT, effect.timeout, subject.overrides.timeout),
    ):
        least, most = durations.longer(limit.milliseconds) if limit else (0.0, 0.0)
        too_long = most > (1 - KEPT) * durations.calls
        if not limit or not (too_long or least_timeout >= limit.milliseconds):
            continue
        bound = durations.keeping(KEPT)
        keeps = _spelled(max(bound, least_timeout)) if bound and bound > limit.milliseconds else None
        least_timeout = keeps.milliseconds if keeps else least_timeout
        yield Cut(annotation, limit, least, most, keeps, _granted(keeps, bounds))


def _granted(value: Duration | None, bounds: DurationBounds | None) -> bool:
    return value is not None and bounds is not None and bounds.min <= value <= bounds.max


def _spelled(milliseconds: float) -> Duration:
    """Return a bound of the histogram as a duration, rounded up to a millisecond."""
    whole = math.ceil(milliseconds)
    text = f"{whole}ms" if whole < 1000 else f"{whole / 1000:.10g}s"
    return Duration(whole, text)


def _summary(subject: _Subject, callers: Mapping[str, Figures]) -> Iterator[str]:
    figures, window = subject.figures, subject.traffic.window
    if figures.calls:
        pace = rate(figures.calls / window.seconds)
        yield f"{count(figures.calls)} calls in {window.words} ({pace} a second), from {_from(callers, _calls)}"
    elif figures.connections:
        yield (
            f"{count(figures.connections)} connections in {window.words}, from {_from(callers, _connections)}: "
            "the sidecars see no HTTP in them, so nothing can be retried"
        )
    else:
        yield f"no traffic in {window.words}"


def _from(callers: Mapping[str, Figures], measure: Callable[[Figures], float]) -> str:
    """Name the calling namespaces, by number of calls."""
    ordered = sorted(callers, key=lambda name: (-measure(callers[name]), name))
    total = sum(map(measure, callers.values()))
    named = [f"{name} {share(measure(callers[name]), total)}" for name in ordered[:3]]
    more = [f"{len(ordered) - 3} more"] if len(ordered) > 3 else []
    return ordered[0] if len(ordered) == 1 else ", ".join(named + more)


def _calls(figures: Figures) -> float:
    return figures.calls


def _connections(figures: Figures) -> float:
    return figures.connections


def _failures(subject: _Subject) -> Iterator[str]:
    calls = subject.figures.calls
    for how in Ending:
        if number := subject.figures.endings.get(how):
            yield f"{share(number, calls)} of {count(calls)} calls {how.words} ({how.flag}){_fate(how, subject)}"


def _fate(how: Ending, subject: _Subject) -> str:
    """Return the sentence about calls with this ending."""
    effect = subject.effect
    if how in REPEATED and effect.withheld:
        return f"; no retries: {effect.withheld}"
    if how not in REPEATED or not subject.reached.endings.get(how):
        return _UNREPEATED.get(how, "")
    if how not in _repeated(effect):
        return ": the policy's retryOn does not repeat these" if effect.attempts else ": the policy makes no retries"
    if effect.in_force:
        return f" although the VirtualService repeats them {effect.attempts} times"
    return ": the recipe repairs these" if how is Ending.TERMINATED else ": the recipe repeats these"


_UNREPEATED = {Ending.LEFT: ": no retry repairs these", Ending.EXHAUSTED: ": more tries would not help these"}


def _cut(subject: _Subject, cut: Cut) -> str:
    calls = subject.traffic.durations(subject.reached).calls
    part = shares(cut.least, cut.most, calls)
    becomes = "be ended and repeated" if cut.annotation == PER_TRY_TIMEOUT else "end with 504"
    said = f"{part} of the calls take longer than {cut.limit}: each would {becomes}"
    if not cut.keeps:
        return f"{said}; no bound of the histogram keeps {100 * KEPT:.1f} % of them"
    where = PREFIX + cut.annotation if cut.granted else f"in the policy, {FIELDS[cut.annotation]}"
    return f"{said}; {where}: {cut.keeps} keeps {100 * KEPT:.1f} % of them"
