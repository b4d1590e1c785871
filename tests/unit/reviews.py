"""A folder of manifests, and the command run on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from click.testing import Result

from tests.builders import HTTP
from tests.command import run
from tests.documents import documents


def entry(name: str = "api", namespace: str | None = "team", **spec: Any) -> dict[str, Any]:
    """A ServiceEntry; what is not given is one host of its name, port 80/HTTP and no resolution."""
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    spec = {"hosts": [f"{name}.example.com"], "ports": [HTTP], **spec}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}


def virtual_service(*hosts: str, name: str = "theirs", namespace: str = "team") -> dict[str, Any]:
    """A VirtualService that is not the guard's: it leads its hosts to the first of them, without retries."""
    metadata = {"name": name, "namespace": namespace}
    spec = {"hosts": list(hosts), "http": [{"route": [{"destination": {"host": hosts[0]}}]}]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}


CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"on": "y"}}
REFUSED: dict[str, Any] = {"addresses": ["192.0.2.0/24"]}
"""A spec that cannot be given resolution DNS."""


class Folder:
    """Where the command runs, so that names in reports are those of files here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, *documents: dict[str, Any]) -> Path:
        """Write a file of manifests."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(*documents))
        return path

    def review(self, *arguments: str, stdin: str | bytes = "") -> Result:
        """Run the command; without paths on everything, which may be nothing."""
        paths = () if any(not argument.startswith("--") for argument in arguments) else (".", "--allow-empty")
        return run("review", *arguments, *paths, stdin=stdin)


def text(*documents: dict[str, Any]) -> str:
    """Manifests as YAML."""
    return yaml.safe_dump_all(documents, sort_keys=False)


def loaded(stream: str) -> Sequence[Any]:
    """The documents of a YAML stream that are not empty."""
    return documents(stream)
