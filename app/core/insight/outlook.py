"""The forecasts for a whole cluster: each host of each entry, with the calls of the namespaces that use it."""

from collections.abc import Iterator, Mapping

from app.core.insight.calls import Figures, Traffic
from app.core.insight.forecast import Effect, Forecast, deciding, effect_of, forecast
from app.core.resources.hosts import object_name
from app.core.resources.service_entry import Key
from app.core.routes.candidates import Candidate, age, exported_to
from app.core.routes.index import Index
from app.core.routes.plan import Conflict, changes, desired_at

KIND = "VirtualService"


def outlook(index: Index, traffic: Traffic) -> Iterator[Forecast]:
    """Yield a forecast for each host of each entry, except for wildcards without figures, because calls name hosts."""
    for host in index.entries.hosts():
        candidates = sorted(index.entries.by_host.at(host), key=lambda candidate: age(candidate.entry))
        decided = _decided(candidates, traffic.callers(host))
        for candidate in candidates:
            callers = decided.get(candidate.key, {})
            if callers or not host.startswith("*"):
                effect = _effect(index, candidate, host) if callers else Effect()
                overrides = candidate.settings.virtual_service.overrides
                yield forecast(candidate.key, host, callers, effect, traffic, overrides)


def _decided(candidates: list[Candidate], callers: Mapping[str, Figures]) -> dict[Key, dict[str, Figures]]:
    """Assign the calls of each namespace to the entry that it uses; those of unknown origin to the oldest entry."""
    found: dict[Key, dict[str, Figures]] = {}
    for namespace, figures in callers.items():
        candidate = deciding(namespace, candidates) or candidates[0]
        found.setdefault(candidate.key, {})[namespace] = figures
    return found


def _effect(index: Index, candidate: Candidate, host: str) -> Effect:
    key, withheld = Key(candidate.key.namespace, object_name(host)), candidate.withheld(KIND, host)
    neighbours = index.neighbours(key)
    plan = desired_at(key, neighbours, explained=False)
    ours = next((each for each in plan.objects if each.kind == KIND), None)
    if ours is None or withheld:
        return Effect(withheld=withheld or _conflict(plan.conflicts))
    missing = {each.kind for each, _ in changes(plan, neighbours.observed).apply}
    seen_by = exported_to(ours.manifest["spec"].get("exportTo", ()), ours.key.namespace)
    return effect_of(candidate.tuning, candidate, seen_by, in_force=KIND not in missing)


def _conflict(conflicts: tuple[Conflict, ...]) -> str:
    claimants = (f"{each.claimant.kind} {each.claimant.key}" for each in conflicts if each.emitted.kind == KIND)
    return f"{claimant} routes the host" if (claimant := next(claimants, "")) else "other namespaces do not agree"
