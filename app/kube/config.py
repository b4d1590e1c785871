"""Where the API server is and who we are to it: in-cluster, or a kubeconfig."""

import os
import socket
import struct
from pathlib import Path

import urllib3
from kubernetes.client import Configuration
from kubernetes.config import (
    KUBE_CONFIG_DEFAULT_LOCATION,
    ConfigException,
    list_kube_config_contexts,
    load_incluster_config,
    load_kube_config,
)

from app.kube.errors import ConfigError

# A peer that vanished without a word is noticed after 30 + 3 x 10 seconds of silence.
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), seconds)
        for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
# What a timed-out write left in the send buffer must not be delivered when the network comes back.
_DROP_UNSENT = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


HOME_KUBECONFIG = "~/.kube/config"


class ConnectionSettings(Configuration):
    """The package's settings of a connection, and the context that they come from."""

    context_name: str = ""
    """Empty without a kubeconfig."""


def load(path: str | None, connections: int, context: str | None = None) -> ConnectionSettings:
    """The settings for up to `connections` connections.

    `path` is a kubeconfig (`~` and a list of files are understood). None means what kubectl means: `$KUBECONFIG`, then
    `~/.kube/config`, then the service account of the pod. `context` is one of the kubeconfig's. Raises ConfigError.
    """
    configuration = ConnectionSettings()
    # urllib3 would follow redirects, and repeat a timed-out PUT or DELETE by itself: after the lease ended, too.
    configuration.retries = False
    configuration.connection_pool_maxsize = connections
    configuration.socket_options = [
        *urllib3.connection.HTTPConnection.default_socket_options,
        *_KEEP_ALIVE,
        _DROP_UNSENT,
    ]
    if path is not None:
        _load_kubeconfig(configuration, path, context)
        return configuration
    default = KUBE_CONFIG_DEFAULT_LOCATION or HOME_KUBECONFIG  # an empty KUBECONFIG counts as none
    if _exists(default) or context:
        _load_kubeconfig(configuration, default, context)
    elif not _load_in_cluster(configuration):
        raise ConfigError(f"no kubeconfig: {default} does not exist; set --kubeconfig or KUBECONFIG")
    return configuration


def _exists(paths: str) -> bool:
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path)


def _load_in_cluster(configuration: ConnectionSettings) -> bool:
    try:
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # typed in part
    except ConfigException:
        return False
    return True


def _load_kubeconfig(configuration: ConnectionSettings, paths: str, context: str | None) -> None:
    if not _exists(paths):
        raise ConfigError(f"kubeconfig {paths} does not exist")
    try:
        load_kube_config(paths, context, configuration)  # type: ignore[no-untyped-call]  # ditto
        configuration.context_name = context or list_kube_config_contexts(paths)[1]["name"]  # type: ignore[no-untyped-call]  # ditto
    except Exception as error:
        # A document in another form makes the loader stumble, whose words then tell nothing of it.
        stumbled = isinstance(error, (AttributeError, LookupError, TypeError))
        reason = "it does not have the form of a kubeconfig" if stumbled else " ".join(str(error).split())
        raise ConfigError(f"kubeconfig {paths} cannot be used: {reason}") from error
