"""A real Kubernetes API server with etcd and Istio's CRDs, for one test run or one demo."""

import json
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bed.apiserver import ADMIN, ADMIN_GROUP, ApiServer, Profile
from tests.bed.binaries import Binaries
from tests.bed.etcd import DATA, Etcd
from tests.bed.kubeconfig import write_kubeconfig
from tests.bed.pki import Authority, create_authority

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMAS = "/openapi/v3/apis/networking.istio.io/v1"


class ControlPlane:
    """Starts on entering its context, and is gone after it; on Linux also when this process is killed.

    There is no controller manager: nothing garbage-collects, a deleted namespace stays terminating, and the
    cluster roles view, edit and admin are empty (they are aggregated by a controller).
    The ServiceAccount admission plugin is off, authorisation is RBAC, everything listens on 127.0.0.1 only, unless the
    `profile` is another one. `arguments` go to kube-apiserver after the bed's own, files into a folder in `parent`.
    Entering raises BedError, with the end of the log, if a program does not come up; the folder with its logs is then
    left for inspection.
    """

    def __init__(
        self,
        binaries: Binaries,
        arguments: Sequence[str] = (),
        profile: Profile = Profile(),  # noqa: B008 - it is frozen
        parent: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="serviceentry-guard-bed-", dir=parent))
        self._binaries = binaries
        self._authority = create_authority("serviceentry-guard test bed")
        self._etcd = Etcd(binaries.etcd, self.folder)
        self._apiserver = ApiServer(
            binaries.kube_apiserver, self.folder, self._authority, self._etcd.url, arguments, profile
        )
        self.url = self._apiserver.url
        self.port = self._apiserver.port
        self.authority = self.folder / "ca.crt"
        self.signing_key = self.folder / "service-account.key"
        self.kubeconfig = self.user_kubeconfig(ADMIN, [ADMIN_GROUP])

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._kill()
            shutil.rmtree(self.folder / DATA, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()
        shutil.rmtree(self.folder)

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; the result has stdout and stderr as text.

        With `check`, a failure raises CalledProcessError with what kubectl said as a note.
        """
        result = subprocess.run(
            self._kubectl_command(arguments),
            input=stdin,
            env={**os.environ, "KUBERC": "off"},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and result.returncode:
            error = subprocess.CalledProcessError(result.returncode, result.args, result.stdout, result.stderr)
            error.add_note(result.stderr)
            raise error
        return result

    def user_kubeconfig(self, name: str, groups: Iterable[str] = (), server: str | None = None) -> Path:
        """A kubeconfig file for a user of this name in these groups, by client certificate.

        `server` is the API server's address where the file is used, if that is another machine.
        """
        user = self._authority.client(name, groups)
        # A colon, as ServiceAccounts have it, separates files in a list of kubeconfigs.
        path = self.folder / f"{name.replace(':', '-')}.kubeconfig"
        return write_kubeconfig(path, server or self.url, self._authority.certificate, user)

    def tls(self) -> ssl.SSLContext:
        """For a client of its own: it verifies the API server and presents the administrator's certificate."""
        return self._apiserver.tls()

    @property
    def authority_of_bed(self) -> Authority:
        """The authority of all certificates of this control plane."""
        return self._authority

    @property
    def program(self) -> Path:
        """The program of the API server, for a second one on the same etcd."""
        return self._binaries.kube_apiserver

    @property
    def etcd(self) -> Etcd:
        """Its etcd, to end and to start again."""
        return self._etcd

    @property
    def apiserver(self) -> ApiServer:
        """Its API server, to end and to start again."""
        return self._apiserver

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET of this path as administrator."""
        return self._apiserver.get(path)

    def pause(self) -> None:
        """Freeze the API server: connections stay open, and nothing is answered."""
        self._apiserver.child.pause()

    def resume(self) -> None:
        """Let a paused API server go on."""
        self._apiserver.child.resume()

    def restart_apiserver(self) -> None:
        """End the API server (all connections are cut) and wait until it is ready again on the same port."""
        self._apiserver.child.kill()
        self._apiserver.start()

    def compact_etcd(self) -> int:
        """Make etcd forget all revisions but the current one, which is returned.

        Clients do not notice yet: the API server goes on serving watches, exact lists and continue tokens of
        older revisions from its watch cache. If it was given `--watch-cache=false`, those are gone at once; only
        a watch from the very last revision but one still works.
        """
        return self._etcd.compact()

    def forget_history(self) -> None:
        """Make every older resource version a real 410 Gone, reason Expired.

        Compaction and then a restart, which empties the watch cache: a watch gets an ERROR event with a Status
        of code 410 (the HTTP status is 200), a list with a continue token or an exact version HTTP 410.
        A restart alone is enough for watches, not for continue tokens: those are then read from etcd.
        """
        self.compact_etcd()
        self.restart_apiserver()

    def _start(self) -> None:
        self._etcd.start()
        self._apiserver.start()
        self.kubectl("create", "--filename", self._binaries.istio_crds)
        self._apiserver.child.wait_until(self._serves_istio, "it serves Istio's resources and their schemas")

    def _kill(self) -> None:
        for child in (self._apiserver.child, self._etcd.child):
            if child.running:
                child.kill()

    def _serves_istio(self) -> bool:
        definitions = json.loads(self.get(CRDS)[1])["items"]
        return all(map(_established, definitions)) and b"ServiceEntry" in self.get(SCHEMAS)[1]

    def _kubectl_command(self, arguments: Iterable[str | Path]) -> list[str]:
        options = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder / 'kubectl-cache'}"]
        return [str(self._binaries.kubectl), *options, *map(str, arguments)]


def _established(definition: dict[str, dict[str, list[dict[str, str]] | None]]) -> bool:
    conditions = definition["status"].get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
