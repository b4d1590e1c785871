"""What docs/insight.md counts DNS queries by: a stock Envoy asks once for each cluster, even if two have one name."""

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.bed.binaries import envoy_program
from tests.bed.guard import HOST
from tests.bed.ports import free_port
from tests.bed.processes import Child, wait_until

A = 1
TTL = 3600
NAME = "api.example.com"
RESOLVER = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


@contextmanager
def dns_server() -> Iterator[tuple[int, Counter[tuple[str, int]]]]:
    """Answer every question for an address; gives the port, and what was asked by name and type."""
    asked = Counter[tuple[str, int]]()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((HOST, 0))

    def serve() -> None:
        while True:
            try:
                question, client = server.recvfrom(2048)
            except OSError:
                return
            if not question:
                return
            name, end = _name(question)
            (kind,) = struct.unpack("!H", question[end : end + 2])
            asked[name, kind] += 1
            answer = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, TTL, 4) + bytes((127, 0, 0, 1)) if kind == A else b""
            head = question[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, int(bool(answer)), 0, 0)
            server.sendto(head + question[12 : end + 4] + answer, client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1], asked
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        thread.join()
        server.close()


def _name(question: bytes) -> tuple[str, int]:
    labels, place = [], 12
    while length := question[place]:
        labels.append(question[place + 1 : place + 1 + length].decode())
        place += 1 + length
    return ".".join(labels), place + 1


def cluster(port: int, dns: int) -> dict[str, Any]:
    """A cluster as istiod makes it for one port of a host with resolution DNS."""
    resolvers = [{"socket_address": {"address": HOST, "port_value": dns}}]
    options = {"no_default_search_domain": True}
    config = {"@type": RESOLVER, "resolvers": resolvers, "dns_resolver_options": options}
    address = {"socket_address": {"address": NAME, "port_value": port}}
    return {
        "name": f"outbound|{port}||{NAME}",
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "respect_dns_ttl": True,
        "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": config},
        "load_assignment": {
            "cluster_name": f"outbound|{port}||{NAME}",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def test_two_clusters_of_one_name_are_asked_for_twice_and_for_ipv4_only(tmp_path: Path) -> None:
    admin = free_port()
    with dns_server() as (port, asked):
        address = {"socket_address": {"address": HOST, "port_value": admin}}
        clusters = [cluster(80, port), cluster(443, port)]
        file = tmp_path / "envoy.json"
        file.write_text(json.dumps({"admin": {"address": address}, "static_resources": {"clusters": clusters}}))
        command = (envoy_program(), "-c", file, "--concurrency", "1", "--use-dynamic-base-id")
        with Child(*command, log=tmp_path / "envoy.log") as envoy:
            envoy.wait_until_answering(f"http://{HOST}:{admin}/ready", seconds=60.0)
            wait_until(lambda: resolved(admin) == 2, "both clusters are resolved", 60.0)
        assert asked == {(NAME, A): 2}


def resolved(admin: int) -> int:
    """Count the clusters that have the address."""
    with urlopen(f"http://{HOST}:{admin}/clusters") as response:
        text = response.read().decode()
    return int(text.count("::127.0.0.1:80::cx_total") + text.count("::127.0.0.1:443::cx_total"))
