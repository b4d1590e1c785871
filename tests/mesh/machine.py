"""What the recovery was measured with."""

import subprocess
from collections.abc import Iterator

from tests.bed.binaries import Binaries, envoy_program
from tests.bed.tools import ISTIOD, required
from tests.perf import machine

ISTIO = "istio.io/istio"


def describe(binaries: Binaries) -> Iterator[tuple[str, str]]:
    """Names and values: the hardware and the versions."""
    yield from machine.describe(binaries)
    yield "istiod", required(ISTIOD.module, ISTIO)
    yield "Envoy", _envoy()


def _envoy() -> str:
    said = subprocess.run([envoy_program(), "--version"], capture_output=True, text=True, check=True).stdout
    return said.rsplit("/", 4)[1]
