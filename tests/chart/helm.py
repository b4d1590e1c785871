"""Helm, both major versions that are in use, on this chart; and kubeconform."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.bed.build import build, cached
from tests.bed.progress import Progress
from tests.bed.tools import HELM, HELM_4, KUBECONFORM, KUBERNETES_VERSION, OTHER_CRDS, ModuleFile, Tool
from tests.documents import as_text, documents
from tools.reference.chart import CHART

NAMESPACE = "guard-system"
RELEASE = "serviceentry-guard"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """One of the two programs."""

    program: Path

    def run(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it with a home of its own; the result has stdout and stderr as text.

        With `check`, a failure raises CalledProcessError with what Helm said as a note.
        """
        home = self.program.parent / "home"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
        environment |= {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment["KUBECONFIG"] = str(kubeconfig or os.devnull)
        command = [str(self.program), *map(str, arguments)]
        result = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, check=False)
        if check and result.returncode:
            error = subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
            error.add_note(result.stderr)
            raise error
        return result

    def template(self, values: Mapping[str, Any], *arguments: str) -> str:
        """Render the chart as YAML without a cluster; once for the same values, since many tests look at the same."""
        return self._rendered(as_text(dict(values)), arguments)

    def refusal(self, values: Mapping[str, Any]) -> str:
        """What it says of values that it does not take."""
        result = self._template(as_text(dict(values)), (), check=False)
        assert result.returncode == 1
        return result.stderr

    def objects(self, values: Mapping[str, Any], *arguments: str) -> list[Manifest]:
        """All objects that the chart renders, hooks included."""
        return documents(self.template(values, *arguments))

    @cache  # noqa: B019 - there are two of these, for the whole run
    def _rendered(self, values: str, arguments: tuple[str, ...]) -> str:
        return self._template(values, arguments, check=True).stdout

    def _template(self, values: str, arguments: Iterable[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        return self.run(
            "template", RELEASE, CHART, f"--namespace={NAMESPACE}", f"--kube-version={KUBERNETES_VERSION}",
            "--values=-", *arguments, stdin=values, check=check,
        )  # fmt: skip


def provide(items: Sequence[Tool | ModuleFile] = (HELM, HELM_4, KUBECONFORM, *OTHER_CRDS)) -> dict[str, Path]:
    """Make what is missing; raises BedError."""
    build(items, Progress(sys.stderr))
    return {item.name: cached(item) for item in items}


def kind(objects: Iterable[Manifest], wanted: str, name: str | None = None) -> Manifest:
    """The one object of a kind, or the one of that name."""
    found = [one for one in objects if one["kind"] == wanted and name in {None, one["metadata"]["name"]}]
    assert len(found) == 1, [one["metadata"]["name"] for one in found]
    return found[0]
