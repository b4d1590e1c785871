"""Why the API server cannot call a webhook: what its words mean, and what to do; pure.

The words are those of Kubernetes 1.36 and of the Go library beneath it (crypto/tls, crypto/x509, net), as the
end-to-end tests obtain them.
"""

import re
from enum import Enum

from app.certificates.probe import Trouble

_WHO_WRITES = (
    "With --manage-certificates see the log of the leading controller, which repairs this; with cert-manager that of "
    "its cainjector; else write the authority's certificate into caBundle."
)
_WHO_ISSUES = (
    "With --manage-certificates see the log of the leading controller; with cert-manager see the Certificate; else "
    "renew it. Compare the clocks of the machines, too."
)
_WAY_IN = (
    "Let the control plane reach the webhook's port: firewall rules (on private clusters), NetworkPolicies, security "
    "groups."
)
_WHO_CUTS = (
    "Most often the webhook has no certificate to serve yet: the /readyz of its pods says what it waits for. Else see "
    "their log, and that of what stands between (a proxy; a mesh: exclude the port from injection)."
)


class Cause(Enum):
    """In words, and what to do; {name} is the DNS name that the webhook is called by."""

    NO_SERVICE = (
        "the Service that the configuration names does not exist",
        "Install the chart again, or correct the Service in the webhook configuration.",
    )
    NO_PORT = (
        "the Service has no such port",
        "Correct the port of the Service, or that in the webhook configuration.",
    )
    NO_ENDPOINTS = (
        "no webhook pod is ready behind the Service",
        "See why with `kubectl get pods` and the /readyz of a pod, which says what it waits for.",
    )
    REFUSED = (
        "nothing listens where the API server connects to",
        "See whether webhook pods run and are ready, and whether the Service's targetPort is the webhook's --port.",
    )
    UNREACHABLE = (
        "the API server gets no connection to the webhook",
        _WAY_IN,
    )
    UNRESOLVED = (
        "the API server cannot resolve the host of the webhook",
        "Correct the url in the webhook configuration, or the DNS of the control plane.",
    )
    TIMEOUT = (
        "the webhook, or the way to it, is too slow",
        "See whether webhook pods run out of CPU, and whether a firewall drops packets to their port without a word.",
    )
    EXPIRED = (
        "the serving certificate is not valid at this time",
        _WHO_ISSUES,
    )
    MISNAMED = (
        "the serving certificate is for another name",
        "Issue it for {name}: see --webhook-service of the controller, or dnsNames of the Certificate.",
    )
    UNTRUSTED = (
        "the caBundle of the configuration is not that of the authority that signed the serving certificate",
        _WHO_WRITES,
    )
    NO_BUNDLE = (
        "the configuration has no caBundle that could be read",
        _WHO_WRITES,
    )
    NO_CERTIFICATE = (
        "the webhook has no certificate to serve yet, or something else answers on its port",
        "See the /readyz of the webhook's pods: it says which certificate it waits for.",
    )
    NO_TLS = (
        "what answers there speaks no TLS",
        "Correct the port: it must lead to the webhook's --port, not to its --health-port.",
    )
    CUT = (
        "the connection is closed before there is an answer",
        _WHO_CUTS,
    )
    OVERLOADED = (
        "the webhook has too many requests under way",
        "Give it more replicas or more CPU.",
    )
    NO_REVIEW = (
        "something else answers in the webhook's place",
        "See whether Service, port and path of the configuration lead to the webhook (/mutate, /validate).",
    )
    OTHER = (
        "the API server cannot call the webhook",
        "The message says why; the log of the webhook's pods may say more.",
    )

    @property
    def words(self) -> str:
        """What is the case."""
        return self.value[0]

    def remedy(self, name: str) -> str:
        """What to do about it, for a webhook that is called by a name."""
        return self.value[1].replace("{name}", name or "its Service")


_SIGNS: tuple[tuple[str, Cause], ...] = (
    (r'service "[^"]*" not found', Cause.NO_SERVICE),
    (r"no service port|service port .* not found", Cause.NO_PORT),
    (r"no endpoints available", Cause.NO_ENDPOINTS),
    (r"certificate has expired or is not yet valid", Cause.EXPIRED),
    (
        r"certificate is valid for|certificate is not valid for|Common Name field|doesn't contain any IP SANs",
        Cause.MISNAMED,
    ),
    (r"certificate signed by unknown authority|x509: ", Cause.UNTRUSTED),
    (r"unable to load root certificates|unable to parse bytes as PEM", Cause.NO_BUNDLE),
    (r"remote error: tls: ", Cause.NO_CERTIFICATE),
    (r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake", Cause.NO_TLS),
    (r"no such host|server misbehaving", Cause.UNRESOLVED),
    (r"connection refused", Cause.REFUSED),
    (r"no route to host|network is unreachable|dial tcp [^ ]+ i/o timeout|dial tcp .*i/o timeout", Cause.UNREACHABLE),
    (r"context deadline exceeded|Client\.Timeout exceeded|i/o timeout|TLS handshake timeout", Cause.TIMEOUT),
    (r"too many requests under way", Cause.OVERLOADED),
    (r"EOF|connection reset by peer|broken pipe|server closed idle connection", Cause.CUT),
    (
        r"expected webhook response|json parse error|invalid character|server could not find the requested resource",
        Cause.NO_REVIEW,
    ),
)
"""In this order: what comes first is the more particular."""


def classify(message: str) -> Cause:
    """Return the cause of a call that failed, from the API server's words."""
    return next((cause for sign, cause in _SIGNS if re.search(sign, message)), Cause.OTHER)


CAUSES = {
    Trouble.REFUSED: Cause.REFUSED,
    Trouble.NO_BUNDLE: Cause.NO_BUNDLE,
    Trouble.UNTRUSTED: Cause.UNTRUSTED,
    Trouble.EXPIRED: Cause.EXPIRED,
    Trouble.MISNAMED: Cause.MISNAMED,
    Trouble.NO_TLS: Cause.NO_CERTIFICATE,
}
"""What a connection of our own proves; that none was had from here proves nothing."""
