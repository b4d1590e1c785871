"""Why the API server cannot call a webhook: the meaning of its error messages, and remedies.

The messages are those of Kubernetes 1.36 and of the Go library beneath it (crypto/tls, crypto/x509, net), as the
end-to-end tests obtain them.
"""

import re
from enum import Enum

from app.certificates.probe import Trouble

_WHO_WRITES = (
    "With --manage-certificates: the leading controller repairs caBundle, see its log. With cert-manager: see the log "
    "of its cainjector. Otherwise write the CA certificate into caBundle."
)
_WHO_ISSUES = (
    "With --manage-certificates: see the log of the leading controller. With cert-manager: see the Certificate. "
    "Otherwise renew it. Also compare the clocks of the machines."
)
_WAY_IN = (
    "Let the control plane reach the webhook's port: check firewall rules (on private clusters), NetworkPolicies and "
    "security groups."
)
_WHO_CUTS = (
    "Most often the webhook has no serving certificate yet: /readyz of its pods says what they wait for. Otherwise "
    "read their logs and those of a proxy on the path; in a mesh, exclude the port from sidecar injection."
)


class Cause(Enum):
    """A sentence and a remedy; {name} is the DNS name that the API server calls the webhook by."""

    NO_SERVICE = (
        "the Service in the webhook configuration does not exist",
        "Install the chart again, or correct the Service in the webhook configuration.",
    )
    NO_PORT = (
        "the Service has no such port",
        "Correct the port of the Service, or that in the webhook configuration.",
    )
    NO_ENDPOINTS = (
        "no webhook pod is ready behind the Service",
        "Run `kubectl get pods`, and read /readyz on the health port of a pod: it says what the pod waits for.",
    )
    REFUSED = (
        "the connection is refused: nothing listens on this address and port",
        "Check that webhook pods are ready, and that the Service's targetPort is the webhook's --port.",
    )
    UNREACHABLE = (
        "the API server cannot connect to the webhook",
        _WAY_IN,
    )
    UNRESOLVED = (
        "the API server cannot resolve the host of the webhook",
        "Correct the url in the webhook configuration, or the DNS of the control plane.",
    )
    TIMEOUT = (
        "the webhook or the network path to it is too slow",
        "Check whether webhook pods run out of CPU, and whether a firewall silently drops packets to their port.",
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
        "caBundle in the webhook configuration does not contain the CA that signed the serving certificate",
        _WHO_WRITES,
    )
    NO_BUNDLE = (
        "caBundle in the webhook configuration is empty or not a certificate",
        _WHO_WRITES,
    )
    NO_CERTIFICATE = (
        "the webhook has no serving certificate yet, or another program answers on its port",
        "Read /readyz on the health port of the webhook pods: it says which certificate they wait for.",
    )
    NO_TLS = (
        "the endpoint does not speak TLS",
        "Correct the port: it must lead to the webhook's --port, not to its --health-port.",
    )
    CUT = (
        "the connection was closed before an answer came",
        _WHO_CUTS,
    )
    CLIENT_CERTIFICATE = (
        "the webhook rejects the client certificate of the API server, or the API server presents none",
        "Give every API server a certificate for this webhook (docs/certificates.md), or unset webhook.clientCA.",
    )
    OVERLOADED = (
        "the webhook has too many concurrent requests",
        "Give it more replicas or more CPU.",
    )
    NO_REVIEW = (
        "another program answers in place of the webhook",
        "Check that Service, port and path in the webhook configuration lead to the webhook (/mutate, /validate).",
    )
    OTHER = (
        "the API server cannot call the webhook",
        "Read the message above and the logs of the webhook pods.",
    )

    @property
    def words(self) -> str:
        """The cause as a sentence."""
        return self.value[0]

    def remedy(self, name: str) -> str:
        """The remedy for a webhook with this DNS name."""
        return self.value[1].replace("{name}", name or "its Service")


_SIGNS: tuple[tuple[str, Cause], ...] = (
    (r'service "[^"]*" not found', Cause.NO_SERVICE),
    (r"no service port|service port .* not found", Cause.NO_PORT),
    (r'no endpoints available|endpoints "[^"]*" not found', Cause.NO_ENDPOINTS),
    (r"certificate has expired or is not yet valid", Cause.EXPIRED),
    (
        r"certificate is valid for|certificate is not valid for|Common Name field|doesn't contain any IP SANs",
        Cause.MISNAMED,
    ),
    (r"certificate signed by unknown authority|x509: ", Cause.UNTRUSTED),
    (r"unable to load root certificates|unable to parse bytes as PEM", Cause.NO_BUNDLE),
    (
        r"remote error: tls: (?:unknown certificate authority|bad certificate|expired certificate)",
        Cause.CLIENT_CERTIFICATE,
    ),
    (r"remote error: tls: ", Cause.NO_CERTIFICATE),
    (r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake", Cause.NO_TLS),
    (r"no such host|server misbehaving", Cause.UNRESOLVED),
    (r"connection refused", Cause.REFUSED),
    (r"no route to host|network is unreachable|dial tcp [^ ]+ i/o timeout|dial tcp .*i/o timeout", Cause.UNREACHABLE),
    (r"context deadline exceeded|Client\.Timeout exceeded|i/o timeout|TLS handshake timeout", Cause.TIMEOUT),
    (r"too many concurrent requests", Cause.OVERLOADED),
    (r"a client certificate is required|not an allowed subject", Cause.CLIENT_CERTIFICATE),
    (r"EOF|connection reset by peer|broken pipe|server closed idle connection", Cause.CUT),
    (
        r"expected webhook response|json parse error|invalid character|server could not find the requested resource",
        Cause.NO_REVIEW,
    ),
)
"""More specific patterns come first."""


def classify(message: str) -> Cause:
    """Return the cause of a failed call, from the API server's message."""
    return next((cause for sign, cause in _SIGNS if re.search(sign, message)), Cause.OTHER)


CAUSES = {
    Trouble.REFUSED: Cause.REFUSED,
    Trouble.NO_BUNDLE: Cause.NO_BUNDLE,
    Trouble.UNTRUSTED: Cause.UNTRUSTED,
    Trouble.EXPIRED: Cause.EXPIRED,
    Trouble.MISNAMED: Cause.MISNAMED,
    Trouble.NO_TLS: Cause.NO_CERTIFICATE,
}
"""The causes that a failed connection of doctor's own proves; being unable to connect from here proves nothing."""
