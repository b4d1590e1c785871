"""The types of objects that the guard reads and writes, as the API names them."""

from dataclasses import dataclass
from urllib.parse import quote

from app.core.resources.service_entry import ADMISSION_GROUP, API_VERSION, GATEWAY_GROUP, GROUP

NO_VERSION = "1"
"""A resource version that no object has. With it, an apply can only create."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A type of object as the API names it; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    metadata_only: bool = False
    """Whether lists and watches ask for nothing but the metadata of its objects."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The path of one object, or of the collection when there is no name (in all namespaces: no namespace)."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)


_VERSION = API_VERSION.removeprefix(f"{GROUP}/")

SERVICE_ENTRIES = Resource(GROUP, _VERSION, "serviceentries", "ServiceEntry")
EMITTED = {
    "VirtualService": Resource(GROUP, _VERSION, "virtualservices", "VirtualService"),
    "DestinationRule": Resource(GROUP, _VERSION, "destinationrules", "DestinationRule"),
}
SIDECARS = Resource(GROUP, _VERSION, "sidecars", "Sidecar")
HTTP_ROUTES = Resource(GATEWAY_GROUP, "v1", "httproutes", "HTTPRoute")
"""Watched for HTTPRoutes with a ServiceEntry as parent; a cluster may not have this resource."""
REPORTS = (
    Resource("openreports.io", "v1alpha1", "reports", "Report"),
    Resource("wgpolicyk8s.io", "v1alpha2", "policyreports", "PolicyReport"),
)
"""The kinds of reports, preferred first. Only one kind is written, so that dashboards count nothing twice."""
CONFIGURATIONS = tuple(
    Resource(ADMISSION_GROUP, "v1", f"{kind.lower()}s", kind, namespaced=False)
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
)
MUTATING, VALIDATING = CONFIGURATIONS
ADMISSION_POLICIES = {
    kind: Resource(ADMISSION_GROUP, "v1", _plural, kind, namespaced=False)
    for kind, _plural in (
        ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
        ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    )
}
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False, metadata_only=True)
"""Watched for the labels that say whether a namespace is in an ambient mesh, and which waypoint serves it."""
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
PODS = Resource("", "v1", "pods", "Pod")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
SECRETS = Resource("", "v1", "secrets", "Secret")
