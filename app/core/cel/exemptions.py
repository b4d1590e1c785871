"""Exemptions and owners in CEL: `exemptions.exemption` and `ownership.owned_by_others`.

CEL has no clock at admission. The expressions contain the day as a literal, and the controller writes them again when
a new day begins.
"""

from app.core.cel.expressions import FALSE, TRUE, array, both, either, globbed, literal, negated
from app.core.cel.namespaces import NAMESPACE, Layers
from app.core.policy.fields import Permission
from app.core.policy.model import Settings
from app.core.policy.tenancy import LONGEST_REASON, Exemptions, Owner, Temporary
from app.core.resources.days import DAY, later
from app.core.resources.service_entry import PREFIX
from app.core.rules.overrides import EXEMPT, EXEMPT_UNTIL
from app.core.rules.ownership import compiled, owned, spelled
from app.core.rules.predicates import fully, partly

_REASON = f'variables.annotations[?{literal(PREFIX + EXEMPT)}].orValue("").trim()'
_ENDS = f"{literal(PREFIX + EXEMPT_UNTIL)} in variables.annotations"
_UNTIL = f"variables.annotations[{literal(PREFIX + EXEMPT_UNTIL)}]"
Owners = tuple[tuple[Owner, tuple[str, ...]], ...]
"""Owners, each with its patterns in every spelling."""


def exempt(layers: Layers) -> str:
    """Return the condition that an entry is exempt."""
    today = layers.today
    return either(
        layers.by(lambda settings: settings.exemptions.namespaces, lambda globs: globbed(NAMESPACE, globs)),
        layers.by(lambda settings: settings.exemptions.hosts, _all_hosts),
        layers.by(
            lambda settings: tuple(each for each in settings.exemptions.temporary if today <= each.until), _temporary
        ),
        layers.by(lambda settings: _of_annotation(settings.exemptions, today), str),
    )


def owned_hosts(layers: Layers) -> str:
    """Return a list with a text for each host: the owner for a message, "" if the entry may use it."""
    return layers.choose(_owners, _owned)


def has_owners(layers: Layers) -> bool:
    """Say whether any host has an owner."""
    return any(layers.values(_owners))


def _all_hosts(globs: tuple[str, ...]) -> str:
    matched = globbed("h", globs)
    return matched if matched in {FALSE, TRUE} else f"variables.canonical.all(h, {matched})"


def _temporary(lasting: tuple[Temporary, ...]) -> str:
    every = (both(globbed(NAMESPACE, item.namespaces), _all_hosts(item.hosts)) for item in lasting)
    return either(*every)


def _of_annotation(exemptions: Exemptions, today: str) -> str:
    if exemptions.annotation is Permission.FORBID:
        return FALSE
    pattern, most = exemptions.reason_pattern, exemptions.max_duration
    reason = [f"{_REASON}.size() >= {exemptions.min_reason_length}", f"{_REASON}.size() <= {LONGEST_REASON}"]
    reason += [partly(_REASON, pattern.text)] if pattern else []
    end = [fully(_UNTIL, DAY), f"{_UNTIL} >= {literal(today)}"]
    end += [f"{_UNTIL} <= {literal(later(today, most.days))}"] if most and today else []
    ends = both(_ENDS, *end) if exemptions.require_expiry or most else either(negated(_ENDS), f"({both(*end)})")
    return both(*reason, ends)


def _owners(settings: Settings) -> Owners:
    domains = settings.scope.cluster_domains
    return tuple((owner, spelled(owner.match, domains)) for owner in settings.hosts.owners)


def _owned(owners: Owners) -> str:
    if not owners:
        return "[]"
    own = [globbed(NAMESPACE, owner.namespaces) for owner, _ in owners]
    decides = [_decides(patterns, each) for (_, patterns), each in zip(owners, own, strict=True)]
    names = array(owned(owner) for owner, _ in owners)
    first = f"variables.canonical.map(h, [{', '.join(decides)}].indexOf(true))"
    return f'{first}.map(i, i < 0 || [{", ".join(own)}][i] ? "" : {names}[i])'


def _decides(patterns: tuple[str, ...], own: str) -> str:
    """Return the condition that an owner matches host h: it owns h, or it is foreign and h covers its hosts."""
    exact, ends = compiled(patterns)
    covered = f"{array(sorted((*exact, *ends)))}.exists(p, p.endsWith(h.substring(1)))"
    return either(
        *([f"h in {array(sorted(exact))}"] if exact else []),
        *([f"{array(ends)}.exists(p, h.endsWith(p))"] if ends else []),
        both(negated(own), 'h.startsWith("*")', covered),
    )
