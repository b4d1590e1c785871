"""An etcd of one member, for one run: nothing in it outlives the process."""

import base64
import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.bed.ports import free_ports
from tests.bed.processes import Child

MEMBER = "default"
DATA = "etcd"


class Etcd:
    """An etcd that listens on 127.0.0.1 and has its data and its log in `folder`."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._port, peer_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self._port}"
        arguments = self._arguments(folder / DATA, f"http://127.0.0.1:{peer_port}")
        self.child = Child(program, *arguments, log=folder / "etcd.log")

    def start(self) -> None:
        """Start it and wait until it serves. Raises BedError with the end of its log if it does not."""
        self.child.start().wait_until_listening(self._port)

    def compact(self) -> int:
        """Forget all revisions but the current one, which is returned."""
        key = base64.b64encode(b"/").decode()
        revision = int(self._call("range", {"key": key})["header"]["revision"])
        self._call("compaction", {"revision": revision, "physical": True})
        return revision

    def _arguments(self, data: Path, peer_url: str) -> Iterator[str]:
        yield f"--name={MEMBER}"
        yield f"--data-dir={data}"
        yield f"--listen-client-urls={self.url}"
        yield f"--advertise-client-urls={self.url}"
        yield f"--listen-peer-urls={peer_url}"
        yield f"--initial-advertise-peer-urls={peer_url}"
        yield f"--initial-cluster={MEMBER}={peer_url}"
        yield "--unsafe-no-fsync"
        yield "--log-level=error"

    def _call(self, operation: str, request: Mapping[str, object]) -> Any:
        """One call of etcd's JSON gateway (etcdctl is not among a user's KUBEBUILDER_ASSETS)."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", f"/v3/kv/{operation}", json.dumps(request))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"etcd refused {operation}: {answer}")
        return answer
