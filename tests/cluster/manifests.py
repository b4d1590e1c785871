"""Objects that the cluster itself needs."""

from typing import Any

from tests.cluster import settings

NAMESPACE = "kube-system"
COREFILE = f"""
.:53 {{
    errors
    health
    ready
    kubernetes {settings.DNS_DOMAIN} in-addr.arpa {{
        ttl 5
    }}
    forward {settings.OUTSIDE_DOMAIN} {settings.OUTSIDE_DNS}
}}
"""


def dns() -> list[dict[str, Any]]:
    """CoreDNS: an answer for every Service, and outside of the cluster for names of one domain only."""
    name, labels = "coredns", {"k8s-app": "kube-dns"}
    metadata = {"name": name, "namespace": NAMESPACE}
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    group = "rbac.authorization.k8s.io"
    ports = [
        {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
    ]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": COREFILE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": NAMESPACE},
            "spec": {"selector": labels, "clusterIP": settings.DNS_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _dns_pod(name)},
            },
        },
    ]


def _dns_pod(name: str) -> dict[str, Any]:
    return {
        "serviceAccountName": name,
        "dnsPolicy": "Default",
        # It stays where the control plane is when the other node is emptied or cut off.
        "nodeName": "node-1",
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": name,
                "image": settings.DNS_IMAGE,
                "imagePullPolicy": "Never",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": name}}],
    }
