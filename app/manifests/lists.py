"""Objects that contain manifests: Lists of any kind, and OpenShift's Templates."""

from collections.abc import Container

from app.core.resources.fields import JSON


def members(value: JSON) -> list[JSON] | None:
    """Return the manifests in a List or a Template, None for any other object.

    Items of a typed list, such as a ServiceEntryList, may have no apiVersion and kind. They then have those of the
    list, as in apimachinery's UnstructuredJSONScheme.
    """
    if not isinstance(value, dict):
        return None
    kind, found = str(value.get("kind")), value.get(member_field(value))
    if not isinstance(found, list) or not (kind.endswith("List") or is_template(value)):
        return None
    item_kind = kind.removesuffix("List")
    if not item_kind or is_template(value):
        return found
    typed = {"apiVersion": value.get("apiVersion"), "kind": item_kind}
    return [{**typed, **item} if _untyped(item) else item for item in found]


def member_field(fields: Container[str]) -> str:
    """Return the field of a List or a Template that contains its manifests."""
    return "objects" if "objects" in fields and "items" not in fields else "items"


def is_template(value: JSON) -> bool:
    """Say whether an object is an OpenShift Template, whose parameters `oc process` fills in."""
    return isinstance(value, dict) and value.get("kind") == "Template" and isinstance(value.get("objects"), list)


def _untyped(item: JSON) -> bool:
    return isinstance(item, dict) and not item.get("kind") and not item.get("apiVersion")
