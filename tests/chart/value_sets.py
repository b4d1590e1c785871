"""The sets of values that are supported, each with a name."""

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
"""What looks like a certificate to the schema; the API server would not take it."""
PROVIDED: Values = {"certificates": {"mode": "provided", "secretName": "webhook-tls"}}
OUTSIDE: Values = {"webhook": {"url": "https://webhook.example.com:9443"}, "certificates": {"mode": "provided"}}

SETS: dict[str, Values] = {
    "default": {},
    "cert-manager": {"certificates": {"mode": "cert-manager"}},
    "cert-manager-issuer": {
        "certificates": {
            "mode": "cert-manager",
            "certManager": {"issuerRef": {"name": "corporate", "kind": "ClusterIssuer", "group": "cert-manager.io"}},
        }
    },
    "provided": PROVIDED,
    "outside": OUTSIDE,
    "backstop": {"admission": {"backstop": True}},
    "native": {"admission": {"engine": "native"}},
    "asked-always": {"admission": {"skipCompliant": False}},
    "warn": {"policy": {"mode": "Warn"}},
    "report": {"policy": {"existing": "Report"}},
    "remediate": {
        "policy": {
            "existing": "Remediate",
            "virtualService": {"overrides": {"attempts": None}},
            "destinationRule": {"enabled": True},
            "namespaces": [{"match": ["sandbox-*"], "mode": "Warn"}],
        }
    },
    "tenants": {
        "admission": {"backstop": True},
        "policy": {
            "exemptions": {"temporary": [{"hosts": ["*.legacy.example"], "until": "2027-03-31"}]},
            "hosts": {"owners": [{"match": ["*.payments.example", "pay.example"], "namespaces": ["payments"]}]},
            "exportTo": {"require": "Warn"},
            "namespaces": [{"match": ["payments"], "exemptions": {"annotation": "Allow", "reasonPattern": "^[A-Z]+-"}}],
        },
    },
    "policy-elsewhere": {"policyConfigMap": "our-policy"},
    "remove": {"cleanup": {"virtualServices": "Remove"}},
    "apart": {
        "namespaceOverride": "elsewhere",
        "global": {"imageRegistry": "registry.example.com", "imagePullSecrets": ["pull"]},
        "webhook": {"serviceAccount": {"create": False, "name": "webhook"}, "priorityClass": {"create": False}},
    },
    "node-network": {"webhook": {"hostNetwork": True, "port": 10260}},
    "bare": {
        "webhook": {"podDisruptionBudget": {"enabled": False}, "preStopSeconds": 0, "replicas": 1},
        "controller": {"podDisruptionBudget": {"enabled": False}, "replicas": 1, "reports": False},
        "networkPolicy": {"enabled": False},
    },
    "everything": {
        "image": {"registry": "registry.example.com:5000", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "pull"}],
        "commonLabels": {"team": "platform"},
        "admission": {
            "backstop": True,
            "namespaceSelector": {
                "matchLabels": {"mesh": "on"},
                "matchExpressions": [{"key": "stage", "operator": "In", "values": ["prod"]}],
            },
            "matchConditions": [{"name": "not-us", "expression": "request.userInfo.username != 'us'"}],
        },
        "webhook": {
            "hostNetwork": False,
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "mesh", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "topologySpreadConstraints": [
                {
                    "topologyKey": "rack",
                    "maxSkew": 1,
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": {"c": "d"}},
                }
            ],
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
            "serviceAnnotations": {"e": "f"},
            "bindAddress": "::",
            "serviceIPFamilies": ["IPv4"],
            "serviceIPFamilyPolicy": "SingleStack",
            "serviceAccount": {"name": "webhook", "annotations": {"i": "j"}},
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "extraArgs": ["--log-level=debug"],
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "autoscaling": {"enabled": True},
        },
        "controller": {
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "mesh", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
            "serviceAccount": {"annotations": {"g": "h"}},
            "dnsPolicy": "ClusterFirst",
            "updateStrategy": {"rollingUpdate": {"maxSurge": 2}},
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
        },
        "logging": {"level": "debug", "format": "json"},
        "probes": {"liveness": {"timeoutSeconds": 9}},
        "tracing": {"otlpEndpoint": "http://collector.tracing:4318"},
        "networkPolicy": {
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "apiServer": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"port": 443}]}],
            "egress": [{"ports": [{"port": 4318}]}],
        },
        "metrics": {
            "serviceMonitor": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "scrapeTimeout": "10s",
                "relabelings": [{"action": "labeldrop", "regex": "pod"}],
                "metricRelabelings": [{"action": "labeldrop", "regex": "le"}],
            },
            "prometheusRule": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "runbook": "https://runbooks.example.com/guard.html",
            },
            "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Mesh"}},
        },
        "cleanup": {"virtualServices": "Remove"},
    },
}


def over(*layers: Values) -> Values:
    """Lay values over values, key by key, as Helm does."""
    laid: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            both = isinstance(value, dict) and isinstance(laid.get(name), dict)
            laid[name] = over(laid[name], value) if both else value
    return laid


def at(path: str, value: Any) -> Values:
    """Values with one of them set: at("a.b", 1) is {"a": {"b": 1}}."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)
