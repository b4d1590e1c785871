"""The test bed itself: what other end-to-end tests take for granted."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.bed.binaries import ASSETS, provide
from tests.bed.control_plane import ControlPlane
from tests.bed.errors import BedError
from tests.bed.generations import WANTED_VERSION
from tests.bed.processes import is_listening, wait_until
from tests.bed.tools import KUBERNETES_VERSION

pytestmark = pytest.mark.e2e

ENTRIES = "/apis/networking.istio.io/v1/namespaces/{}/serviceentries"


def manifest(name: str, version: str = "v1") -> str:
    return json.dumps(
        {
            "apiVersion": f"networking.istio.io/{version}",
            "kind": "ServiceEntry",
            "metadata": {"name": name},
            "spec": {
                "hosts": [f"{name}.example.com"],
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
                "resolution": "DNS",
            },
        }
    )


def create(control_plane: ControlPlane, namespace: str, *names: str) -> None:
    for name in names:
        control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=manifest(name))


def first_page(control_plane: ControlPlane, path: str) -> dict[str, Any]:
    status, body = control_plane.get(f"{path}?limit=1")
    assert status == 200
    metadata: dict[str, Any] = json.loads(body)["metadata"]
    return metadata


def first_watch_event(control_plane: ControlPlane, path: str, version: str) -> dict[str, Any]:
    status, body = control_plane.get(f"{path}?watch=1&timeoutSeconds=2&resourceVersion={version}")
    assert status == 200
    event: dict[str, Any] = json.loads(body.splitlines()[0])
    return event


def test_the_api_server_is_the_pinned_version(control_plane: ControlPlane) -> None:
    if ASSETS in os.environ and WANTED_VERSION not in os.environ:
        pytest.skip("the user's own binaries have the user's version")
    wanted = os.environ.get(WANTED_VERSION, KUBERNETES_VERSION)
    answer = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert answer["serverVersion"]["gitVersion"] == wanted
    assert answer["clientVersion"]["gitVersion"] == wanted


def test_clients_that_do_not_trust_the_beds_authority_refuse_its_certificate(
    control_plane: ControlPlane,
) -> None:
    port = urlsplit(control_plane.url).port
    stranger = HTTPSConnection("127.0.0.1", port, timeout=5, context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/readyz")


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_service_entries_are_served_in_all_three_versions(
    control_plane: ControlPlane, namespace: str, version: str
) -> None:
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=manifest("api", version))
    stored = control_plane.kubectl(
        "get", "-n", namespace, f"serviceentries.{version}.networking.istio.io", "api", "-o", "json"
    )
    assert json.loads(stored.stdout)["apiVersion"] == f"networking.istio.io/{version}"


def test_a_user_may_do_what_rbac_grants_and_nothing_else(control_plane: ControlPlane, namespace: str) -> None:
    in_namespace = f"--namespace={namespace}"
    control_plane.kubectl("create", "role", "reader", in_namespace, "--verb=list", "--resource=configmaps")
    control_plane.kubectl("create", "rolebinding", "readers", in_namespace, "--role=reader", "--group=readers")
    reader = f"--kubeconfig={control_plane.user_kubeconfig('jane', ['readers'])}"
    control_plane.kubectl("get", "configmaps", in_namespace, reader)
    refused = control_plane.kubectl("get", "secrets", in_namespace, reader, check=False)
    assert 'User "jane" cannot list resource "secrets"' in refused.stderr


def test_a_failing_kubectl_shows_what_it_said(control_plane: ControlPlane) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        control_plane.kubectl("get", "namespace", "absent")
    assert "NotFound" in failure.value.__notes__[0]


class TestWithAControlPlaneOfItsOwn:
    """What disturbs the API server, and must not disturb other tests."""

    @pytest.fixture(scope="class")
    @staticmethod
    def own() -> Iterator[ControlPlane]:
        with ControlPlane(provide()) as own:
            yield own

    def test_old_versions_are_gone_after_forget_history(self, own: ControlPlane) -> None:
        path = ENTRIES.format("default")
        create(own, "default", "a", "b")
        page = first_page(own, path)
        create(own, "default", "c")
        own.forget_history()

        event = first_watch_event(own, path, page["resourceVersion"])
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        status, body = own.get(f"{path}?limit=1&continue={page['continue']}")
        assert (status, json.loads(body)["reason"]) == (410, "Expired")

    def test_a_paused_api_server_answers_nothing_until_it_is_resumed(self, own: ControlPlane) -> None:
        own.pause()
        hung = own.kubectl("get", "namespaces", "--request-timeout=1s", check=False)
        own.resume()
        assert hung.returncode == 1
        assert own.kubectl("get", "namespaces").returncode == 0


def test_without_a_watch_cache_compaction_alone_makes_old_versions_gone() -> None:
    path = ENTRIES.format("default")
    with ControlPlane(provide(), ["--watch-cache=false"]) as uncached:
        create(uncached, "default", "a", "b")
        page = first_page(uncached, path)
        create(uncached, "default", "c", "d")
        uncached.compact_etcd()
        event = first_watch_event(uncached, path, page["resourceVersion"])
        status, _ = uncached.get(f"{path}?limit=1&continue={page['continue']}")
    assert event["object"]["code"] == 410
    assert status == 410


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent's life")
def test_nothing_survives_the_process_that_started_it_being_killed() -> None:
    script = (
        "from tests.bed.binaries import provide\n"
        "from tests.bed.control_plane import ControlPlane\n"
        "with ControlPlane(provide()) as bed:\n"
        "    print(bed.url, bed.folder, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url, folder = parent.stdout.readline().split()
        port = urlsplit(url).port
        assert port is not None
        assert is_listening(port)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not is_listening(port), "the API server is gone")
    shutil.rmtree(folder)


def test_an_api_server_that_cannot_start_is_an_error_with_the_end_of_its_log() -> None:
    broken = ControlPlane(provide(), ["--no-such-flag"])
    with pytest.raises(BedError, match="unknown flag: --no-such-flag"):
        broken.__enter__()
    assert (broken.folder / "kube-apiserver.log").exists()
    shutil.rmtree(broken.folder)
