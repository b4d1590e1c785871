"""A TCP connection to the API server that can be cut or go silent, as networks do."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.bed.processes import wait_until


class Forwarder:
    """Listens on `port` of 127.0.0.1 and passes bytes to and from `url`, from a thread of its own."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._target = (address.hostname, address.port)
        self._url = url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self._refusing = False
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def kubeconfig(self, direct: Path) -> Path:
        """A copy of the kubeconfig `direct` that leads through here."""
        path = direct.with_name(f"forwarder-{self.port}.kubeconfig")
        path.write_text(direct.read_text().replace(self._url, f"https://127.0.0.1:{self.port}"))
        return path

    @contextmanager
    def cut(self) -> Iterator[None]:
        """All connections are reset and new ones refused, until the end of the block."""
        self._refusing = True
        self._interrupt()
        wait_until(lambda: not self._peers, "no connection is left")
        try:
            yield
        finally:
            self._refusing = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing is passed on and nothing is closed, until the end of the block: half-open connections."""
        self._passing.clear()
        self._interrupt()
        try:
            yield
        finally:
            self._passing.set()

    def close(self) -> None:
        self._closing = True
        self._passing.set()
        self._interrupt()
        self._thread.join()
        self._drop_all()
        for each in (self._listener, self._wake, self._woken, self._selector):
            each.close()

    def _interrupt(self) -> None:
        self._wake.send(b"!")

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                self._passing.wait()
                self._serve(key.fileobj)

    def _serve(self, ready: object) -> None:
        if ready is self._listener:
            self._accept()
        elif ready is self._woken:
            self._woken.recv(1)
        elif isinstance(ready, socket.socket) and ready in self._peers:
            self._pass(ready)
        if self._refusing:
            self._drop_all()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass(self, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 16)
            self._peers[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(source)

    def _drop(self, end: socket.socket) -> None:
        for each in (end, self._peers.pop(end)):
            self._peers.pop(each, None)
            self._selector.unregister(each)
            each.close()

    def _drop_all(self) -> None:
        while self._peers:
            self._drop(next(iter(self._peers)))
