"""A DNS server whose answers can be changed while it runs: A records with a time to live of their own."""

import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.bed.processes import wait_until

HEADER = struct.Struct("!6H")
QUESTION_TAIL = struct.Struct("!2H")
RECORD = struct.Struct("!3HIH")
NAME_OF_QUESTION = 0xC00C
A, IN = 1, 1
ASKED_SECONDS = 60.0
ANSWER, NAME_ERROR = 0x8580, 0x8583
"""Flags of a response: authoritative, recursion desired and available; with NXDOMAIN."""


@dataclass(frozen=True, slots=True)
class Record:
    """The addresses of one name, and how many seconds they may be remembered."""

    addresses: tuple[str, ...]
    ttl: int


class Names:
    """Answers on port 53 of `address`; a name may begin with `*.` and then stands for all below it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._records = dict[str, Record]()
        self._captured = dict[tuple[str, str], Record]()
        self._asked = Counter[tuple[str, str]]()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, name="names", daemon=True).start()

    def point(self, name: str, *addresses: str, ttl: int = 1) -> None:
        """Have a name resolve to these addresses from now on."""
        self._records[name] = Record(addresses, ttl)

    def capture(self, name: str, client: str, address: str) -> None:
        """Have a name resolve to this address for one client, as ztunnel does it for its applications."""
        self._captured[name, client] = Record((address,), 1)

    def release(self, name: str, client: str) -> None:
        """Have a name resolve for one client as for all others."""
        self._captured.pop((name, client), None)

    def wait_until_asked(self, name: str, client: str) -> None:
        """Wait until the client of an address asks for the name again."""
        before = self._asked[name, client]
        wait_until(lambda: self._asked[name, client] > before, f"{client} asks for {name}", ASKED_SECONDS)

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            self._socket.sendto(self._answer(query, client[0]), client)

    def _answer(self, query: bytes, client: str) -> bytes:
        number, _, _, _, _, _ = HEADER.unpack_from(query)
        name, end = _read_name(query)
        kind, _ = QUESTION_TAIL.unpack_from(query, end)
        question = query[HEADER.size : end + QUESTION_TAIL.size]
        self._asked[name, client] += 1
        record = (
            self._captured.get((name, client))
            or self._records.get(name)
            or self._records.get(f"*.{name.partition('.')[2]}")
        )
        addresses = record.addresses if record and kind == A else ()
        flags = ANSWER if record else NAME_ERROR
        head = HEADER.pack(number, flags, 1, len(addresses), 0, 0)
        return head + question + b"".join(_record(address, record.ttl) for address in addresses if record)


def _record(address: str, ttl: int) -> bytes:
    return RECORD.pack(NAME_OF_QUESTION, A, IN, ttl, 4) + IPv4Address(address).packed


def _read_name(query: bytes) -> tuple[str, int]:
    """The name of the first question in lower case, and where it ends."""
    labels, at = list[str](), HEADER.size
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), at + 1
