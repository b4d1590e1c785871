"""The kube-apiserver of a control plane: its files, its arguments, its process."""

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from tests.bed.pki import Authority, create_signing_key
from tests.bed.ports import free_port
from tests.bed.processes import Child

ADMIN = "admin"
ADMIN_GROUP = "system:masters"
READY_SECONDS = 120.0
BARE = (
    "--bind-address=127.0.0.1",
    "--authorization-mode=RBAC",
    "--disable-admission-plugins=ServiceAccount",
    # Nothing here reaches the API server through the `kubernetes` Service.
    "--endpoint-reconciler-type=none",
)
"""Arguments of an API server without controllers and nodes, for programs of this machine only."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What depends on the kind of cluster: arguments, and further names of the serving certificate."""

    arguments: tuple[str, ...] = BARE
    names: tuple[str, ...] = ()


class ApiServer:
    """A kube-apiserver on a port of 127.0.0.1, which it keeps over restarts, with its files in `folder`."""

    def __init__(  # noqa: PLR0917 - the control plane alone makes one
        self,
        program: Path,
        folder: Path,
        authority: Authority,
        etcd_url: str,
        arguments: Sequence[str],
        profile: Profile,
    ) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._folder = folder
        self._profile = profile
        self._write_credentials(authority)
        self.child = Child(program, *self._arguments(etcd_url), *arguments, log=folder / "kube-apiserver.log")

    def start(self) -> None:
        """Start it and wait for /readyz. Raises BedError with the end of its log if it does not come."""
        self.child.start().wait_until(self._ready, "/readyz answers 200", READY_SECONDS)

    def tls(self) -> ssl.SSLContext:
        """For a client that verifies the API server and presents the administrator's certificate."""
        context = ssl.create_default_context(cafile=self._folder / "ca.crt")
        context.load_cert_chain(self._folder / "admin.crt", self._folder / "admin.key")
        return context

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET on a connection of its own, as administrator; OSError if nothing answers."""
        connection = HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.tls())
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, HTTPException):
            return False

    def _write_credentials(self, authority: Authority) -> None:
        names = ("127.0.0.1", "localhost", "kubernetes.default.svc", *self._profile.names)
        serving = authority.serving(*names)
        admin = authority.client(ADMIN, [ADMIN_GROUP])
        signing = create_signing_key()
        self._write("ca.crt", authority.certificate)
        self._write("serving.crt", serving.certificate)
        self._write("serving.key", serving.private_key)
        self._write("admin.crt", admin.certificate)
        self._write("admin.key", admin.private_key)
        self._write("service-account.pub", signing.public_key)
        self._write("service-account.key", signing.private_key)

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _arguments(self, etcd_url: str) -> Iterator[str]:
        yield f"--etcd-servers={etcd_url}"
        yield f"--secure-port={self.port}"
        yield f"--client-ca-file={self._folder / 'ca.crt'}"
        yield f"--tls-cert-file={self._folder / 'serving.crt'}"
        yield f"--tls-private-key-file={self._folder / 'serving.key'}"
        yield f"--service-account-issuer={self.url}"
        yield f"--service-account-key-file={self._folder / 'service-account.pub'}"
        yield f"--service-account-signing-key-file={self._folder / 'service-account.key'}"
        # For logs and commands of pods, where there are nodes.
        yield f"--kubelet-client-certificate={self._folder / 'admin.crt'}"
        yield f"--kubelet-client-key={self._folder / 'admin.key'}"
        yield "--kubelet-preferred-address-types=InternalIP"
        yield "--service-cluster-ip-range=10.0.0.0/24"
        yield from self._profile.arguments
        yield "--profiling=false"
