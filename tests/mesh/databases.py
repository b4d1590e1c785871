"""Servers that speak TCP and name no host, as databases do, and their client."""

import asyncio
import socket
import time
from typing import Self

from tests.mesh.application import PATIENCE, Outcome
from tests.mesh.networks import Pod, listening_socket
from tests.mesh.upstreams import Loop

QUESTION = b"who\n"


class Database:
    """A server of the far network: it answers each line with its own address and port."""

    def __init__(self, loop: Loop, address: str, port: int) -> None:
        self.address, self.port = address, port
        self._loop = loop

    @property
    def place(self) -> str:
        """What it answers."""
        return f"{self.address}:{self.port}"

    def open(self) -> Self:
        """Accept connections from now on."""
        self._loop.run(self._open())
        return self

    async def _open(self) -> None:
        await asyncio.start_server(self._serve, sock=listening_socket(self.address, self.port))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                writer.write(f"{self.place}\n".encode())
                await writer.drain()
        except OSError:
            pass  # the other side is gone
        finally:
            writer.close()


class DatabaseClient:
    """A client of one host in a pod: for each question, it resolves the name and connects."""

    def __init__(self, pod: Pod, host: str, port: int) -> None:
        self._pod, self._host, self._port = pod, host, port

    def send(self, _method: str, _path: str) -> Outcome:
        """Ask which server this is."""
        begun = time.monotonic()
        try:
            answer = self._ask()
        except OSError as error:
            return Outcome(time.monotonic() - begun, error=f"connection lost ({type(error).__name__})")
        error_text = "" if answer else "connection closed without an answer"
        return Outcome(time.monotonic() - begun, body=answer, error=error_text)

    def _ask(self) -> str:
        with self._pod.inside():
            connection = socket.create_connection((self._host, self._port), PATIENCE)
        with connection, connection.makefile("rb") as answers:
            connection.sendall(QUESTION)
            return answers.readline().decode().strip()
