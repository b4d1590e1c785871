"""Messages in CEL: for each rule a list of sentences about an entry, empty if the rule does not apply.

The sentences come from the same templates as those of the webhook.
"""

from collections.abc import Callable, Iterator

from app.core.cel.exemptions import has_owners, owned_hosts
from app.core.cel.expressions import FALSE, TRUE, both, either, hole, literal, negated, printable, quoted, spoken
from app.core.cel.namespaces import Layers
from app.core.cel.overrides import GRANTS, bounds
from app.core.cel.variables import PUBLIC, Variables, tcp_left
from app.core.policy.model import Static, Unfixable, Wildcards
from app.core.policy.tenancy import Require
from app.core.rules import overrides, templates
from app.core.rules.catalogue import (
    CIDR_ADDRESS,
    ENDPOINTS_WITHOUT_RESOLUTION,
    EXPORTED_TO_ALL,
    HOST_OWNED,
    MATCHED_BY_ADDRESS,
    MIXED_PORTS,
    NOT_FQDN,
    NOT_MUTATED,
    OVERRIDE_REFUSED,
    RESOLUTION_CHANGED,
    SHARED_PORT,
    STATIC_ENDPOINTS,
    WILDCARD_ENTRY,
    WILDCARD_HOST,
    WORKLOAD_SELECTOR,
)
from app.core.rules.findings import Finding, Rule, Severity

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
        yield _name(finding), (unfixable, finding)
    forbidden = layers.where(lambda settings: settings.resolution.wildcards is not Wildcards.ALLOW)
    entry = _error(WILDCARD_ENTRY, "spec.hosts", templates.WILDCARD_ENTRY.format(host=quoted("variables.hosts[0]")))
    yield _name(entry), (both("variables.open", "variables.dynamic", 'variables.target == ""', forbidden), entry)
    denied = layers.where(lambda settings: settings.resolution.static is Static.DENY)
    static = _error(STATIC_ENDPOINTS, "spec.resolution", templates.STATIC_ENDPOINTS)
    looked_at = either("variables.named", negated(tcp_left(layers)))
    yield _name(static), (both("variables.judged", "variables.static", looked_at, denied), static)


def _overrides(layers: Layers) -> Iterator[tuple[str, Objection]]:
    for grant in GRANTS:
        path = overrides.annotation_path(grant.name)
        present = both("variables.judged", f"{grant.key} in variables.annotations")
        for condition, message in grant.objections(layers):
            finding = _error(OVERRIDE_REFUSED, path, f"{quoted(grant.text)} {message}")
            yield f"{grant.variable}Refused", (both(present, condition), finding)


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
        yield _name(owned), (both("variables.lookedAt", "variables.owners.size() > 0"), owned)
    refused = layers.where(lambda settings: settings.export_to.require is Require.NAMESPACE)
    public = _error(EXPORTED_TO_ALL, "spec.exportTo", templates.EXPORTED_TO_ALL)
    yield _name(public), (both("variables.judged", refused, PUBLIC), public)


def _name(finding: Finding) -> str:
    return finding.rule.name[0].lower() + finding.rule.name[1:]


def _obstacles(layers: Layers) -> Iterator[Objection]:
    left = tcp_left(layers)
    yield _hits(WILDCARD_HOST, "hosts", "wildcards", "", templates.WILDCARD_HOST.format(host=_first("wildcards")))
    yield _hits(NOT_FQDN, "hosts", "invalid", "", templates.NOT_FQDN.format(host=_first("invalid")))
    yield _hits(CIDR_ADDRESS, "addresses", "ranges", "", templates.CIDR_ADDRESS.format(address=_first("ranges")))
    yield _hits(MATCHED_BY_ADDRESS, "addresses", "matched", "", _matched_by_address())
    if left != FALSE:
        yield _hits(MIXED_PORTS, "ports", "mixed", ".protocol", _mixed_ports())
    if left != TRUE:
        yield _hits(SHARED_PORT, "ports", "shared", ".protocol", _shared_port())
    endpoints = _error(ENDPOINTS_WITHOUT_RESOLUTION, "spec.endpoints", templates.ENDPOINTS_WITHOUT_RESOLUTION)
    yield "variables.endpoints.size() > 0", endpoints
    message = templates.WORKLOAD_SELECTOR.format(resolution=hole("variables.resolution"))
    yield "variables.selector", _error(WORKLOAD_SELECTOR, "spec.workloadSelector", message)


def _hits(rule: Rule, field: str, hits: str, below: str, message: str) -> Objection:
    """Return the objection to the items of a field that the variable `hits` lists."""
    place = hole(f"string(variables.{field}.indexOf(variables.{hits}[0]))")
    path = f"spec.{field}[{place}]{below}"
    return f"variables.{hits}.size() > 0", _error(rule, path, _and_more(hits, message))


def _and_more(hits: str, message: str) -> str:
    number = f"variables.{hits}.size()"
    more = spoken(templates.AND_MORE.format(message="", more=hole(f"string({number} - 1)")))
    return message + hole(f'({number} == 1 ? "" : {more})')


def _first(hits: str) -> str:
    return quoted(f"variables.{hits}[0]")


def _matched_by_address() -> str:
    return templates.MATCHED_BY_ADDRESS.format(address=_first("matched"))


def _mixed_ports() -> str:
    resolution = hole("variables.resolution")
    return templates.MIXED_PORTS.format(port=_port_label("variables.mixed[0]"), resolution=resolution)


def _shared_port() -> str:
    label = _port_label("variables.shared[0]")
    return templates.SHARED_PORT.format(port=label, hosts=hole("string(variables.hosts.size())"))


def _port_label(port: str) -> str:
    protocol = f'{port}.?protocol.orValue("").upperAscii()'
    named = hole(f'({protocol} == "" ? {literal(templates.NO_PROTOCOL)} : {printable(protocol)})')
    return templates.PORT.format(number=hole(f"string({port}.number)"), protocol=named)


def _error(rule: Rule, path: str, message: str) -> Finding:
    return Finding(rule, Severity.ERROR, path, message)
