"""The running program istio-generator: clusters in, what istiod gives their proxies out."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from tests.harm.protocol import Answer, Request

AT_ONCE = 4
"""Requests that are sent before the first answer is read; the program works on as many, so neither waits for ever."""

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Answer)


class GeneratorError(Exception):
    """The generator failed on a request, or ended."""


class Generator:
    """One process; as a context manager it is started, and ended with its input. Not for several threads."""

    def __init__(self, program: Path, *, ambient: bool = False) -> None:
        self._program = program
        self._environment = {**os.environ, "PILOT_ENABLE_AMBIENT": str(ambient).lower()}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe(self._process.stdin).close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def ask(self, *requests: Request) -> list[Answer]:
        """Answer requests, some at the same time; raises GeneratorError if one fails."""
        answers = []
        for start in range(0, len(requests), AT_ONCE):
            answers += self._ask(requests[start : start + AT_ONCE])
        return answers

    def _ask(self, requests: Sequence[Request]) -> list[Answer]:
        pipe = self._pipe(self._process.stdin)
        for number, request in enumerate(requests):
            pipe.write(_ENCODER.encode(msgspec.structs.replace(request, id=number)) + b"\n")
        pipe.flush()
        answers = sorted((self._read() for _ in requests), key=lambda answer: answer.id)
        for answer in answers:
            if answer.error:
                raise GeneratorError(answer.error)
        return answers

    def _read(self) -> Answer:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise GeneratorError(f"istio-generator ended with code {self._process.wait()}")
        return _DECODER.decode(line)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise RuntimeError("istio-generator was not started")
        return pipe
