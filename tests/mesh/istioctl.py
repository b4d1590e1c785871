"""Istio's own opinion of manifests, by its command line."""

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.kube.client import Object

_REFUSED = re.compile(r"^\s*\* (?P<kind>\w+)/(?P<namespace>[^/]*)/(?P<name>[^:]+): (?P<reason>.*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that the analysis has to say."""

    code: str
    level: str
    origin: str
    """Kind, name and namespace, as istioctl writes them: `VirtualService name.namespace`."""
    text: str


@dataclass(frozen=True, slots=True)
class Istioctl:
    """The program."""

    path: Path

    def refused(self, manifests: Iterable[Object]) -> dict[str, str]:
        """What istiod's validation refuses of these, by object name: the reason. Names have to differ."""
        text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        result = self._run("validate", "--filename=-", stdin=text)
        return {found["name"]: found["reason"] for found in _REFUSED.finditer(result.stderr)}

    def analyze(self, kubeconfig: Path) -> list[Message]:
        """What it has to say of a live cluster."""
        result = self._run(f"--kubeconfig={kubeconfig}", "analyze", "--all-namespaces", "--output=json")
        return [
            Message(one["code"], one["level"], one.get("origin", ""), one["message"])
            for one in json.loads(result.stdout)
        ]

    def _run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.path, *arguments], input=stdin, capture_output=True, text=True, check=False)
