"""What the recovery was measured with."""

import subprocess
from collections.abc import Iterator

from tests.bed.binaries import Binaries, envoy_program
from tests.bed.tools import ISTIOD
from tests.perf import machine

ISTIO = "istio.io/istio"


def describe(binaries: Binaries) -> Iterator[tuple[str, str]]:
    """Names and values: the hardware and the versions."""
    yield from machine.describe(binaries)
    yield "istiod", _required(ISTIO)
    yield "Envoy", _envoy()


def _required(module: str) -> str:
    """The version of a Go module that istiod is built from."""
    lines = (line.split() for line in (ISTIOD.module / "go.mod").read_text().splitlines())
    return next(words[1] for words in lines if words[:1] == [module] and len(words) > 1)


def _envoy() -> str:
    said = subprocess.run([envoy_program(), "--version"], capture_output=True, text=True, check=True).stdout
    return said.rsplit("/", 4)[1]
