"""Messages in CEL: for each rule a list of sentences about an entry, empty if the rule does not apply.

The sentences come from the same templates as those of the webhook.
"""

from collections.abc import Callable, Iterator

from app.core.cel.exemptions import has_owners, owned_hosts
from app.core.cel.expressions import FALSE, both, either, hole, literal, negated, printable, quoted, spoken
from app.core.cel.namespaces import Layers
from app.core.cel.overrides import bounds, key_of, text_of
from app.core.cel.overrides import objections as refusals
from app.core.cel.overrides import variable as override_variable
from app.core.cel.variables import PUBLIC, Variables, applies, hits, tcp_left, variable
from app.core.policy.model import Static, Unfixable, Wildcards
from app.core.policy.tenancy import Require
from app.core.rules import templates
from app.core.rules.annotations import OVERRIDES
from app.core.rules.catalogue import (
    EXPORTED_TO_ALL,
    HOST_OWNED,
    NOT_MUTATED,
    OVERRIDE_REFUSED,
    RESOLUTION_CHANGED,
    STATIC_ENDPOINTS,
    WILDCARD_ENTRY,
)
from app.core.rules.findings import Finding, Rule, Severity
from app.core.rules.obstacles import OBSTACLES, PORTS, FieldObstacle, ItemObstacle
from app.core.rules.overrides import annotation_path

Tell = Callable[[Finding], str]
"""Returns the text of a finding: its sentence, with or without the remedy."""
Objection = tuple[str, Finding]
"""A condition in CEL, and the finding if it is true."""


def objections(layers: Layers, tell: Tell) -> Variables:
    """Return a variable with the messages of each rule that rejects an entry, and `errors` with all of them."""
    found: dict[str, list[str]] = {}
    for name, (condition, finding) in (*_decision(layers), *_overrides(layers), *_visible(layers)):
        if condition != FALSE:
            found.setdefault(name, []).append(_listed(condition, finding, tell))
    lists_by_name = {name: " + ".join(lists) for name, lists in found.items()}
    return (
        _owned(layers)
        | bounds(layers)
        | lists_by_name
        | {"errors": " + ".join(f"variables.{name}" for name in lists_by_name) or "[]"}
    )


def not_mutated(tell: Tell) -> str:
    """Return the message about an entry that should have been mutated."""
    message = templates.NOT_MUTATED.format(target=hole("variables.target"))
    return _listed('variables.target != ""', _error(NOT_MUTATED, "spec.resolution", message), tell)


def would_change(tell: Tell) -> str:
    """Return the message about an entry that mode Enforce would change."""
    parts = {"resolution": hole("variables.resolution"), "target": hole("variables.target")}
    message = templates.RESOLUTION_CHANGED.format(change=templates.WOULD_BECOME, **parts)
    return _listed('variables.target != ""', _error(RESOLUTION_CHANGED, "spec.resolution", message), tell)


def _listed(condition: str, finding: Finding, tell: Tell) -> str:
    return f"({condition} ? [{spoken(tell(finding))}] : [])"


def _decision(layers: Layers) -> Iterator[tuple[str, Objection]]:
    refused = layers.where(lambda settings: settings.resolution.unfixable is Unfixable.DENY)
    for condition, finding in _obstacles(layers):
        unfixable = both("variables.open", "variables.named", "!variables.dynamic", refused, condition)
        yield variable(finding.rule), (unfixable, finding)
    wildcards = layers.where(lambda settings: settings.resolution.wildcards is not Wildcards.ALLOW)
    entry = _error(WILDCARD_ENTRY, "spec.hosts", templates.WILDCARD_ENTRY.format(host=quoted("variables.hosts[0]")))
    kept = both("variables.open", "variables.dynamic", 'variables.target == ""', wildcards)
    yield variable(entry.rule), (kept, entry)
    denied = layers.where(lambda settings: settings.resolution.static is Static.DENY)
    static = _error(STATIC_ENDPOINTS, "spec.resolution", templates.STATIC_ENDPOINTS)
    looked_at = either("variables.named", negated(tcp_left(layers)))
    yield variable(static.rule), (both("variables.judged", "variables.static", looked_at, denied), static)


def _overrides(layers: Layers) -> Iterator[tuple[str, Objection]]:
    for row in OVERRIDES:
        path = annotation_path(row.name)
        given = both("variables.judged", f"{key_of(row)} in variables.annotations")
        for condition, message in refusals(row, layers):
            finding = _error(OVERRIDE_REFUSED, path, f"{quoted(text_of(row))} {message}")
            yield override_variable(row, "refused"), (both(given, condition), finding)


def _owned(layers: Layers) -> Variables:
    if not has_owners(layers):
        return {}
    return {"owned": owned_hosts(layers), "owners": 'variables.owned.filter(o, o != "")'}


def _visible(layers: Layers) -> Iterator[tuple[str, Objection]]:
    """Yield the rules on owned hosts, which hold for any location and for exempt entries, and on exportTo."""
    if has_owners(layers):
        place = "variables.owned.indexOf(variables.owners[0])"
        host, owner = quoted(f"variables.hosts[{place}]"), hole("variables.owners[0]")
        message = _and_more("owners", templates.HOST_OWNED.format(host=host, owner=owner))
        owned = _error(HOST_OWNED, f"spec.hosts[{hole(f'string({place})')}]", message)
        yield variable(owned.rule), (both("variables.lookedAt", "variables.owners.size() > 0"), owned)
    refused = layers.where(lambda settings: settings.export_to.require is Require.NAMESPACE)
    public = _error(EXPORTED_TO_ALL, "spec.exportTo", templates.EXPORTED_TO_ALL)
    yield variable(public.rule), (both("variables.judged", refused, PUBLIC), public)


def _obstacles(layers: Layers) -> Iterator[Objection]:
    """Yield the objections of the table of obstacles, in its order."""
    for row in OBSTACLES:
        if isinstance(row, FieldObstacle):
            message = row.template.format(resolution=hole("variables.resolution"))
            yield row.cel, _error(row.rule, row.path, message)
        elif applies(row, layers) != FALSE:
            yield _items(row)


def _items(row: ItemObstacle) -> Objection:
    """Return the objection to the items of a row: it names the first, and counts the others."""
    name, field = hits(row), row.field
    first = f"variables.{name}[0]"
    message = row.template.format(
        resolution=hole("variables.resolution"),
        count=hole("string(variables.hosts.size())"),
        **{field.word: _port_label(first) if field is PORTS else quoted(first)},
    )
    place = hole(f"string(variables.{field.name}.indexOf({first}))")
    path = f"spec.{field.name}[{place}]{field.below}"
    return f"variables.{name}.size() > 0", _error(row.rule, path, _and_more(name, message))


def _and_more(name: str, message: str) -> str:
    number = f"variables.{name}.size()"
    more = spoken(templates.AND_MORE.format(message="", more=hole(f"string({number} - 1)")))
    return message + hole(f'({number} == 1 ? "" : {more})')


def _port_label(port: str) -> str:
    protocol = f'{port}.?protocol.orValue("").upperAscii()'
    named = hole(f'({protocol} == "" ? {literal(templates.NO_PROTOCOL)} : {printable(protocol)})')
    return templates.PORT.format(number=hole(f"string({port}.number)"), protocol=named)


def _error(rule: Rule, path: str, message: str) -> Finding:
    return Finding(rule, Severity.ERROR, path, message)
