"""Kubeconfig files for the users of a test run."""

import base64
from pathlib import Path

import yaml

from tests.bed.pki import KeyPair


def write_kubeconfig(path: Path, server: str, authority: bytes, user: KeyPair) -> Path:
    """Write what a client needs to reach `server`, verify it by `authority` (PEM) and be `user`; gives `path`."""
    cluster = {"server": server, "certificate-authority-data": _encoded(authority)}
    credentials = {
        "client-certificate-data": _encoded(user.certificate),
        "client-key-data": _encoded(user.private_key),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": cluster}],
        "users": [{"name": "user", "user": credentials}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "user"}}],
        "current-context": "bed",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
