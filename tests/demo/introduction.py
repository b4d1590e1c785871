"""What is going to happen, how long it takes, and how to see something sooner: said before anything is built."""

import os
from collections.abc import Iterator

from tests.bed.binaries import ASSETS, to_build
from tests.bed.build import minutes

FETCH = f"export {ASSETS}=$(go run sigs.k8s.io/controller-runtime/tools/setup-envtest@latest use -p path)"
"""How a machine with internet gets programs that the Kubernetes project has built."""
BEGINNING = """\
A real kube-apiserver with etcd starts on this machine, and the webhook and the controller beside it. Two ServiceEntries
are applied: one is repaired and gets its VirtualServices, the other one is refused. No cluster of yours is touched, and
everything is removed at the end."""


def introduction() -> str:
    """Return it for this machine. Raises BedError: a program is missing in $KUBEBUILDER_ASSETS."""
    return "\n".join([BEGINNING, "", *_duration()])


def _duration() -> Iterator[str]:
    tools = to_build(installed_kubectl=True)
    if not tools:
        yield "This takes about 20 seconds."
        return
    names, (needed, share) = " and ".join(tool.name for tool in tools), minutes(tools)
    yield f"The first run builds {names} with Go: about {share} minutes on {os.cpu_count() or 1} cores"
    yield f"({needed:g} CPU minutes), once. After that the demo takes about 20 seconds."
    yield ""
    yield "To see something sooner, interrupt (Ctrl-C) and"
    yield "- review files of your own, which needs no build:"
    yield "    .venv/bin/serviceentry-guard review FOLDER"
    yield "- or fetch the programs instead of building them, on a machine with internet:"
    yield f"    {FETCH}"
