"""The administrator of a control plane."""

from collections.abc import Iterator

from app.kube.client import Client
from tests.bed.control_plane import ControlPlane


def administrator(control_plane: ControlPlane) -> Iterator[Client]:
    """Yield a client with all rights, without the cost of a kubectl for each call; fixtures yield from it."""
    client = Client.from_kubeconfig(str(control_plane.kubeconfig))
    yield client
    client.close()
