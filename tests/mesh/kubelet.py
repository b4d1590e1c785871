"""What a kubelet does for the webhook's pods: it brings the ConfigMap that the controller writes into a file."""

import threading
from pathlib import Path
from typing import Self

from app.controller.pod_files import SIBLINGS
from app.kube.client import Client
from app.kube.errors import NotFound
from app.kube.resources import CONFIG_MAPS

NAMESPACE, NAME = "default", "serviceentry-guard-siblings"
SECONDS = 2.4
"""How long a kubelet takes after a change of the pod's annotations, as measured on a real node."""


class Kubelet:
    """Looks for a changed ConfigMap as long as it is entered."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.file = folder / SIBLINGS
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SECONDS):
            new = self.file.with_suffix(".new")
            try:
                new.write_text(self._client.get(CONFIG_MAPS, NAMESPACE, NAME)["data"][SIBLINGS])
            except NotFound:
                continue
            new.rename(self.file)
