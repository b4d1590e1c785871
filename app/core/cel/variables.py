"""The decision table in CEL, as variables.

It repeats `rules.decide` step by step, with the same tables. Tests compare both on a real API server.
"""

from app.core.cel.exemptions import exempt
from app.core.cel.expressions import FALSE, TRUE, array, both, either, globbed, literal, negated
from app.core.cel.kept_resolutions import KEPT, siblings
from app.core.cel.namespaces import NAMESPACE, Layers
from app.core.policy.model import Tcp, Wildcards
from app.core.resources.hosts import LABEL
from app.core.resources.service_entry import LOCATIONS, NAMING, PREFIX, RESOLUTIONS
from app.core.rules.annotations import RETRY_ON
from app.core.rules.findings import Rule
from app.core.rules.kept_resolutions import Standing
from app.core.rules.obstacles import FITS, OBSTACLES, FieldObstacle, ItemObstacle
from app.core.rules.predicates import fully, partly
from app.core.rules.resolution import DYNAMIC_PROTOCOLS, RESOLVING

Variables = dict[str, str]
"""Expressions by name; each uses only those before it."""

_RESOLUTION = 'object.?spec.?resolution.orValue("NONE")'
_ANNOTATIONS = "object.metadata.?annotations.orValue({})"
_BEFORE = "oldObject.metadata.?annotations.orValue({})"
_OURS = f"name.startsWith({literal(PREFIX)})"

_OPEN = [resolution for resolution in RESOLUTIONS if resolution not in RESOLVING]
UNRESOLVED = f"!({_RESOLUTION} in {array(RESOLVING)})"
_EXPORT_TO = "object.?spec.?exportTo.orValue([])"
PUBLIC = f'({_EXPORT_TO}.size() == 0 || "*" in {_EXPORT_TO})'
"""Whether every namespace sees an entry."""
ANNOTATED = f"{_ANNOTATIONS}.exists(name, {_OURS})"
TOUCHED = (
    f'request.operation == "CREATE" || object.?spec != oldObject.?spec || '
    f"{_ANNOTATIONS}.exists(name, {_OURS} && {_BEFORE}[?name] != {_ANNOTATIONS}[?name]) || "
    f"{_BEFORE}.exists(name, {_OURS} && !(name in {_ANNOTATIONS}))"
)
"""Whether a request changes spec or an annotation of the guard, like `verdict.review_update`."""

_WILDCARD = " && ".join(
    [
        FITS,
        '!(h in ["*", "*."])',
        fully("h.lowerAscii()", rf"\*(?:-?{LABEL})?(?:\.{LABEL})*\.?"),
        negated(partly("h", r"(?:\.|^\*-?)[0-9]+\.?$")),
    ]
)
"""Whether a host h is a wildcard that Istio accepts: `hosts.Host`."""
_PROTOCOL = 'p.?protocol.orValue("").upperAscii()'
_CANONICAL = 'h.lowerAscii().endsWith(".") ? h.lowerAscii().substring(0, h.size() - 1) : h.lowerAscii()'


def variables(layers: Layers, standing: Standing | None = None) -> Variables:
    """Return the variables that describe an entry.

    `standing` are the stored entries that keep their resolution; their siblings are not changed.
    """
    found = _fields(layers) | _scope(layers) | _shape() | _obstacles(layers)
    if not standing:
        return found | {"target": _target(layers)}
    target = f'{KEPT} ? "" : ({_target(layers)})'
    return found | {"siblings": siblings(standing), "target": target}


def _fields(layers: Layers) -> Variables:
    variables = {
        "annotations": _ANNOTATIONS,
        "hosts": "object.?spec.?hosts.orValue([])",
        "addresses": "object.?spec.?addresses.orValue([])",
        "ports": "object.?spec.?ports.orValue([])",
        "endpoints": "object.?spec.?endpoints.orValue([])",
        "selector": "object.?spec.?workloadSelector.hasValue()",
        "location": 'object.?spec.?location.orValue("MESH_EXTERNAL")',
        "resolution": _RESOLUTION,
        "words": f'variables.annotations[?{literal(PREFIX + RETRY_ON)}].orValue("").split(",").map(w, w.trim())',
    }
    return ({"layer": layers.variable} if layers.several else {}) | variables


def _scope(layers: Layers) -> Variables:
    """Return the variables of scope: `rules.looked_at`, `rules.in_scope`, `exemptions.exemption`."""
    looked_at = both(
        layers.within,
        negated(
            layers.by(lambda settings: settings.scope.excluded_namespaces, lambda globs: globbed(NAMESPACE, globs))
        ),
    )
    located = layers.by(lambda settings: frozenset(settings.scope.locations), _located)
    exempted = exempt(layers)
    return {
        "canonical": f"variables.hosts.map(h, {_CANONICAL})",
        "lookedAt": looked_at,
        "exempt": exempted,
        "judged": both("variables.hosts.size() > 0", "variables.lookedAt", located, "!variables.exempt"),
    }


def _located(locations: frozenset[str]) -> str:
    return TRUE if locations == {*LOCATIONS} else f"variables.location in {array(sorted(locations))}"


def _shape() -> Variables:
    protocols = f"{_PROTOCOL} in {array(sorted(DYNAMIC_PROTOCOLS))}"
    opaque = f"!({_PROTOCOL} in {array(sorted(NAMING))})"
    return {
        "opaque": f"variables.ports.filter(p, {opaque})",
        "named": "variables.opaque.size() < variables.ports.size()",
        "static": 'variables.resolution == "STATIC" && (variables.endpoints.size() > 0 || variables.selector)',
        "open": f"variables.judged && variables.resolution in {array(_OPEN)} && !variables.static",
        "dynamic": (
            'variables.resolution == "NONE" && variables.named && '
            "variables.addresses.size() + variables.endpoints.size() == 0 && "
            f"!variables.selector && variables.hosts.all(h, {_WILDCARD}) && variables.ports.all(p, {protocols})"
        ),
    }


def _obstacles(layers: Layers) -> Variables:
    """Return the variables of obstacles to DNS: the items of each row of the table that has items, and `free`."""
    items = {hits(row): _items(row, layers) for row in OBSTACLES if isinstance(row, ItemObstacle)}
    none = " + ".join(f"variables.{name}.size()" for name in items) + " == 0"
    fields = (negated(row.cel) for row in OBSTACLES if isinstance(row, FieldObstacle))
    return items | {"free": both(none, *fields)}


def hits(row: ItemObstacle) -> str:
    """Return the name of the variable that holds the items of a row."""
    return f"{variable(row.rule)}Hits"


def variable(rule: Rule) -> str:
    """Return the name of a rule as the name of a variable."""
    return rule.name[0].lower() + rule.name[1:]


def applies(row: ItemObstacle, layers: Layers) -> str:
    """Return the condition under which a row applies."""
    return both(layers.where(row.applies), "variables.hosts.size() > 1" if row.several_hosts else TRUE)


def _items(row: ItemObstacle, layers: Layers) -> str:
    items = f"variables.{row.field.name}.filter({row.field.variable}, {row.cel})"
    condition = applies(row, layers)
    return {TRUE: items, FALSE: "[]"}.get(condition) or f"({condition} ? {items} : [])"


def tcp_left(layers: Layers) -> str:
    """Return the condition that entries whose ports name no host keep their resolution, like `rules.decide`."""
    return layers.where(lambda settings: settings.resolution.tcp is Tcp.LEAVE)


def _target(layers: Layers) -> str:
    """Return the new resolution of an entry, "" for none."""
    allowed = layers.where(lambda settings: settings.resolution.wildcards is Wildcards.DYNAMIC_DNS)
    dynamic = both("variables.open", "variables.dynamic", allowed, 'variables.location == "MESH_EXTERNAL"')
    named = either("variables.named", negated(tcp_left(layers)))
    static = both("variables.open", "!variables.dynamic", "variables.free", named)
    return f'{dynamic} ? "DYNAMIC_DNS" : {static} ? "DNS" : ""' if dynamic != FALSE else f'{static} ? "DNS" : ""'
