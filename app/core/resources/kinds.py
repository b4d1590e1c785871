"""The kinds of manifests that the rules know."""

from collections.abc import Collection

from app.core.resources.fields import JSON
from app.core.resources.service_entry import GATEWAY_GROUP, GROUP


def is_istio(manifest: JSON, kinds: Collection[str]) -> bool:
    """Say whether a manifest is one of these kinds of Istio's networking group, of any version."""
    if not isinstance(manifest, dict) or manifest.get("kind") not in kinds:
        return False
    return str(manifest.get("apiVersion")).startswith(f"{GROUP}/")


def is_http_route(manifest: JSON) -> bool:
    """Say whether a manifest is a Gateway API HTTPRoute."""
    if not isinstance(manifest, dict) or manifest.get("kind") != "HTTPRoute":
        return False
    return str(manifest.get("apiVersion")).startswith(f"{GATEWAY_GROUP}/")


def is_service_entry(manifest: JSON) -> bool:
    """Say whether a manifest is an Istio ServiceEntry."""
    return is_istio(manifest, ("ServiceEntry",))
