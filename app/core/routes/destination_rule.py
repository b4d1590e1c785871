"""What is emitted for one host where the policy asks for it: a DestinationRule that gives up old connections.

It is the cure on TLS passthrough ports, where no retry can help, and the place of TLS origination, where retries can.
"""

from collections.abc import Sequence

from app.core.policy.traffic import ConnectionPool, DestinationRule, TcpPool
from app.core.resources.service_entry import JSON, TLS_PORT
from app.core.routes.virtual_service import Declared, Emitted, Place, emitted, exported

ORIGINATION = {"mode": "SIMPLE", "caCertificates": "system"}
"""Newer Istio trusts the authorities of the system where none are named; older Istio verified nothing (IST0129)."""


def destination_rule(place: Place, declared: Sequence[Declared], settings: DestinationRule) -> Emitted | None:
    """Build the DestinationRule of a host, if there is anything to write into it."""
    policy = _traffic_policy(declared, settings)
    if not policy:
        return None
    return emitted("DestinationRule", place, {"host": place.host.text, **exported(place), "trafficPolicy": policy})


def _traffic_policy(declared: Sequence[Declared], settings: DestinationRule) -> JSON:
    """Write the policy; a port's own settings replace the host's, so they repeat its connection pool."""
    pool = _connection_pool(settings.connection_pool)
    shared = {"connectionPool": pool} if pool else {}
    origination = [
        {"port": {"number": one.port.number}, **shared, "tls": ORIGINATION}
        for one in declared
        if settings.tls_origination and one.port.http and one.port.target == TLS_PORT
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
