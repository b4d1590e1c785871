"""Findings on possible ways around the rules in one entry. They do not change its verdict otherwise."""

from app.core.policy.model import Settings
from app.core.policy.tenancy import Require
from app.core.resources.hosts import names_service
from app.core.resources.service_entry import ServiceEntry
from app.core.rules import templates
from app.core.rules.catalogue import EXPORTED_TO_ALL, MESH_INTERNAL, SHORT_SERVICE_NAME
from app.core.rules.findings import Finding, Rule, Severity, and_more, quoted
from app.core.rules.resolution import RESOLVING

RESERVED_NAMESPACES = frozenset({"default", "istio-system", "kube-node-lease", "kube-public", "kube-system"})
"""Namespaces that every cluster has and that are not top-level domains."""


def exported_to_all(entry: ServiceEntry, settings: Settings) -> tuple[Finding, ...]:
    """Return the finding on an entry that every namespace sees, if the policy requires less."""
    if settings.export_to.require is Require.OFF or not entry.public:
        return ()
    severity = Severity.ERROR if settings.export_to.require is Require.NAMESPACE else Severity.WARNING
    return (Finding(EXPORTED_TO_ALL, severity, "spec.exportTo", templates.EXPORTED_TO_ALL),)


def mesh_internal(entry: ServiceEntry, settings: Settings) -> tuple[Finding, ...]:
    """Return the finding on an external host that is out of scope only because of its location."""
    if entry.location != "MESH_INTERNAL" or entry.workload_selector:
        return ()
    domains = settings.scope.cluster_domains
    hits = [
        index
        for index, host in enumerate(entry.hosts)
        if not (names_service(host.canonical, domains) or _short_name(host.canonical))
    ]
    judged = entry.resolution in RESOLVING or entry.endpoints
    message = "{host} is not a name of this cluster, and location MESH_INTERNAL keeps the entry out of scope"
    return _findings(MESH_INTERNAL, Severity.INFO if judged else Severity.WARNING, entry, hits, message)


def short_service_names(entry: ServiceEntry) -> tuple[Finding, ...]:
    """Return the finding on a host that looks like the short name of a Kubernetes Service: service.namespace."""
    own = entry.key.namespace
    hits = [index for index, host in enumerate(entry.hosts) if _short_name(host.canonical, own)]
    if not hits:
        return ()
    certain = any(_short_name(entry.hosts[index].canonical) for index in hits)
    message = "{host} may be the short name of a Kubernetes Service: Pods that call it so go where this entry leads"
    return _findings(SHORT_SERVICE_NAME, Severity.WARNING if certain else Severity.INFO, entry, hits, message)


def _short_name(host: str, own: str = "") -> bool:
    """Say whether a host is a name in a reserved namespace, or in the own one."""
    name, _, namespace = host.partition(".")
    return bool(name and namespace) and (namespace == own or namespace in RESERVED_NAMESPACES)


def _findings(
    rule: Rule, severity: Severity, entry: ServiceEntry, hits: list[int], message: str
) -> tuple[Finding, ...]:
    if not hits:
        return ()
    sentence = and_more(message.format(host=quoted(entry.hosts[hits[0]].text)), len(hits))
    return (Finding(rule, severity, f"spec.hosts[{hits[0]}]", sentence),)
