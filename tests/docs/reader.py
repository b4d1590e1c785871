"""A reader who types what a page says, in a folder and against a cluster like theirs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bed.control_plane import ControlPlane
from tests.command import run
from tests.docs.markdown import ROOT, Block, Command

WORKSPACE = Path(__file__).parent / "workspace"
NAMESPACE = "team"
POLICIES = ",".join(
    f"{kind}admissionpolic{rest}" for kind in ("validating", "mutating") for rest in ("ybindings", "ies")
)
SECONDS = 120.0
"""A command that takes longer hangs."""
ANYTHING = "..."
OFFLINE = re.compile(r"serviceentry-guard ((?:review|policy) [^|&;<>$*?`\n]+)")


@dataclass(frozen=True)
class Reader:
    """`programs` are kubectl and helm by name; the cluster is the one that the kubeconfig in the home folder names."""

    control_plane: ControlPlane
    programs: dict[str, Path]
    folder: Path

    @contextmanager
    def at(self, blocks: Sequence[Block]) -> Iterator[Path]:
        """Have a folder with what pages take for granted and the files that one shows, and the namespace of a team."""
        folder = self.folder / "work"
        shutil.copytree(WORKSPACE, folder)
        for examples in ("docs/examples", "examples"):
            shutil.copytree(ROOT / examples, folder / examples)
        for block in blocks:
            if block.title:
                (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.title).write_text("\n".join(block.lines) + "\n")
        if not any("create namespace" in command.text for block in blocks for command in block.commands):
            self.control_plane.kubectl("create", "namespace", NAMESPACE)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
            self._forget(NAMESPACE)
            self.control_plane.kubectl("delete", POLICIES, "--selector=app.kubernetes.io/managed-by=serviceentry-guard")

    def _forget(self, namespace: str) -> None:
        """Delete a namespace with what is in it: there is no controller that would."""
        kinds = "serviceentries,virtualservices,destinationrules"
        self.control_plane.kubectl("delete", kinds, "--all", f"--namespace={namespace}")
        self.control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
        rest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}, "spec": {"finalizers": []}}
        path = f"/api/v1/namespaces/{namespace}/finalize"
        self.control_plane.kubectl("replace", f"--raw={path}", "--filename=-", stdin=json.dumps(rest))

    def type(self, command: Command, folder: Path) -> tuple[int, list[str]]:
        """Run a command; returns its exit code and the lines of its output, errors among them."""
        if words := offline(command.text):
            with chdir(folder):
                called = run(*words)
            return called.exit_code, called.output.splitlines()
        ran = subprocess.run(
            ["bash", "-c", command.text],
            cwd=folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return ran.returncode, ran.stdout.splitlines()

    def _environment(self) -> dict[str, str]:
        home, programs = self.folder / "home", self.folder / "bin"
        if not home.exists():
            (home / ".kube").mkdir(parents=True)
            shutil.copy(self.control_plane.kubeconfig, home / ".kube" / "config")
            programs.mkdir()
            for name, program in self.programs.items():
                (programs / name).symlink_to(program)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        return kept | {"HOME": str(home), "PATH": path, "KUBERC": "off"}


def offline(text: str) -> list[str]:
    """Return the arguments of a command that needs neither a shell nor a cluster, so that it can be called here."""
    found = OFFLINE.fullmatch(text)
    return shlex.split(found[1], comments=True) if found else []


def shows(shown: Sequence[str], said: Sequence[str]) -> bool:
    """Whether output is what a page shows of it, where `...` stands for anything, alone in a line for any lines."""
    pattern = "\n".join(shown).strip()
    regex = ".*".join(re.escape(part) for part in pattern.split(ANYTHING))
    return re.fullmatch(regex, "\n".join(line.rstrip() for line in said).strip(), re.DOTALL) is not None
