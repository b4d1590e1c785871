"""The DestinationRule of one host, if the policy enables it: it closes old connections.

It repairs TLS passthrough ports, where retries cannot help, and configures TLS origination, with which retries help.
"""

from collections.abc import Sequence

from app.core.policy.traffic import ConnectionPool, DestinationRule, TcpPool
from app.core.resources.fields import JSON
from app.core.resources.service_entry import TLS_PORT
from app.core.routes.virtual_service import Declared, Emitted, Place, emitted, exported

ORIGINATION = {"mode": "SIMPLE", "caCertificates": "system"}
"""Newer Istio trusts the system's CA certificates by default; older Istio verified nothing (IST0129)."""


def destination_rule(place: Place, declared: Sequence[Declared], settings: DestinationRule) -> Emitted | None:
    """Build the DestinationRule of a host, if it would have any content."""
    policy = _traffic_policy(declared, settings)
    if not policy:
        return None
    return emitted("DestinationRule", place, {"host": place.host.text, **exported(place), "trafficPolicy": policy})


def _traffic_policy(declared: Sequence[Declared], settings: DestinationRule) -> JSON:
    """Build the traffic policy. A port's settings replace those of the host, so they repeat its connection pool."""
    pool = _connection_pool(settings.connection_pool)
    shared = {"connectionPool": pool} if pool else {}
    origination = [
        {"port": {"number": each.port.number}, **shared, "tls": ORIGINATION}
        for each in declared
        if settings.tls_origination and each.port.http and each.port.target == TLS_PORT
    ]
    return {**shared, **({"portLevelSettings": origination} if origination else {})}


def _connection_pool(pool: ConnectionPool) -> JSON:
    http = _given(
        idleTimeout=pool.http.idle_timeout and str(pool.http.idle_timeout),
        maxRequestsPerConnection=pool.http.max_requests_per_connection,
    )
    return _given(http=http or None, tcp=_tcp(pool.tcp) or None)


def _tcp(pool: TcpPool) -> JSON:
    keepalive = pool.tcp_keepalive
    return _given(
        idleTimeout=pool.idle_timeout and str(pool.idle_timeout),
        maxConnectionDuration=pool.max_connection_duration and str(pool.max_connection_duration),
        tcpKeepalive=keepalive
        and {"probes": keepalive.probes, "time": str(keepalive.time), "interval": str(keepalive.interval)},
    )


def _given(**fields: JSON) -> dict[str, JSON]:
    return {name: value for name, value in fields.items() if value is not None}
