"""Operations that several controllers need: list all, apply exactly, lock a patch, recognize our own objects.

A write is made over what was seen only. Where another client wrote in the meantime the API server answers with a
WriteConflict, and the caller looks again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from app.core.resources.service_entry import MANAGED_BY, MANAGER
from app.kube.client import Client, Object
from app.kube.errors import NotFound
from app.kube.resources import NO_VERSION, Resource

OUR_OBJECTS = f"{MANAGED_BY}={MANAGER}"
"""Label selector of the objects that the guard wrote."""


def is_ours(stored: Object) -> bool:
    """Say whether an object has the guard's label."""
    return (stored["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER


def other_managers(stored: Object) -> tuple[str, ...]:
    """Return the field managers of an object other than ours, the latest first; empty if it does not name them."""
    fields = sorted(
        stored["metadata"].get("managedFields") or (), key=lambda item: str(item.get("time", "")), reverse=True
    )
    names = (str(item.get("manager", "")) for item in fields)
    return tuple(dict.fromkeys(name for name in names if name and name != MANAGER))


def list_all(
    client: Client,
    resource: Resource,
    namespace: str | None = None,
    *,
    label_selector: str = "",
    field_selector: str = "",
) -> Iterator[Object]:
    """Yield all objects of a resource, page after page; all pages are of one moment. Raises ApiError."""
    continue_ = ""
    while True:
        page = client.list_page(
            resource, namespace, continue_=continue_, label_selector=label_selector, field_selector=field_selector
        )
        yield from page.items
        continue_ = page.continue_
        if not continue_:
            return


def locked(stored: Object, patch: Sequence[Any]) -> list[Any]:
    """Return a JSON Patch that is a WriteConflict on any other version of the object than `stored`."""
    version = stored["metadata"]["resourceVersion"]
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *patch]


def apply_over(client: Client, resource: Resource, manifest: Object, seen: str | None) -> Object:
    """Apply server-side, over the version that was seen only; None: no object was seen.

    Without a version, fields that do not clash would be merged into an object that another client created in the
    meantime, forced or not.
    """
    body = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": seen or NO_VERSION}}
    return client.apply(resource, body, force=True)


def apply_exactly(client: Client, resource: Resource, manifest: Object, seen: str | None) -> Object:
    """Apply as `apply_over`, and remove fields of `spec` that others added: server-side apply leaves those.

    Returns the object as stored. Its `spec` is another one where the API server fills in fields.
    """
    stored = apply_over(client, resource, manifest, seen)
    return stored if stored["spec"] == manifest["spec"] else reset_spec(client, resource, manifest, stored)


def reset_spec(client: Client, resource: Resource, manifest: Object, stored: Object) -> Object:
    """Remove what others added to the `spec` of a stored object; returns it as it is stored then."""
    metadata = manifest["metadata"]
    reset = locked(stored, [{"op": "replace", "path": "/spec", "value": manifest["spec"]}])
    return client.json_patch(resource, metadata.get("namespace"), metadata["name"], reset)


def delete_seen(  # noqa: PLR0913 - what the API server takes
    client: Client, resource: Resource, namespace: str, name: str, *, uid: str, version: str
) -> bool:
    """Delete an object, only as it was seen; returns False if it is gone already."""
    try:
        client.delete(resource, namespace, name, uid=uid, resource_version=version)
    except NotFound:
        return False
    return True
