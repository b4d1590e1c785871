"""Webhook configurations as the API has them: the fields that are read, and the patches."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.certificates.probe import Address
from app.kube.client import Object

DISABLED = {"name": "serviceentry-guard.io.disabled", "expression": "false"}
"""A match condition that no request meets. The API server evaluates it without calling the webhook."""


def webhooks(configuration: Object) -> list[Object]:
    """Return the webhooks of a configuration."""
    return configuration.get("webhooks") or []


def bundle(webhook: Object) -> bytes:
    """Return the authorities that the API server trusts for a webhook, PEM; empty where there are none."""
    return decode(webhook["clientConfig"].get("caBundle") or "")


def address(webhook: Object) -> Address:
    """Return where the API server calls a webhook: a Service by its DNS name, or the host of a URL."""
    client = webhook["clientConfig"]
    if url := client.get("url"):
        parts = urlsplit(url)
        return Address(parts.hostname or "", parts.port or 443)
    namespace, name = service(webhook) or ("", "")
    return Address(f"{name}.{namespace}.svc", client["service"].get("port", 443))


def service(webhook: Object) -> tuple[str, str] | None:
    """Return the namespace and name of a webhook's Service; None if it has a URL."""
    found: Mapping[str, str] | None = webhook["clientConfig"].get("service")
    return (found["namespace"], found["name"]) if found else None


def is_disabled(webhook: Object) -> bool:
    """Say whether a webhook was taken out of the API server's way."""
    return DISABLED in _conditions(webhook)


def trusting(configuration: Object, authorities: bytes) -> list[Object]:
    """Return the JSON Patch that sets the caBundle of each webhook; empty if all have it."""
    text = base64.b64encode(authorities).decode()
    return [
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": text}
        for index, webhook in enumerate(webhooks(configuration))
        if webhook["clientConfig"].get("caBundle") != text
    ]


def failing(configuration: Object, wanted: Mapping[str, str]) -> list[Object]:
    """Return the JSON Patch that sets the failure policies of webhooks, by name; empty if they have them."""
    return [
        {"op": "add", "path": f"/webhooks/{index}/failurePolicy", "value": wanted[webhook["name"]]}
        for index, webhook in enumerate(webhooks(configuration))
        if webhook.get("failurePolicy") != wanted[webhook["name"]]
    ]


def disabling(configuration: Object) -> list[Object]:
    """Return the JSON Patch that disables every webhook; empty if all are disabled."""
    patch: list[Object] = []
    for index, webhook in enumerate(webhooks(configuration)):
        if not is_disabled(webhook):
            path = f"/webhooks/{index}/matchConditions"
            there = bool(_conditions(webhook))
            patch.append(
                {"op": "add", "path": f"{path}/0" if there else path, "value": DISABLED if there else [DISABLED]}
            )
    return patch


def enabling(configuration: Object) -> list[Object]:
    """Return the JSON Patch that undoes `disabling`."""
    return [
        {"op": "remove", "path": f"/webhooks/{index}/matchConditions/{_conditions(webhook).index(DISABLED)}"}
        for index, webhook in enumerate(webhooks(configuration))
        if is_disabled(webhook)
    ]


def decode(text: str) -> bytes:
    """Decode base64; returns nothing if it is invalid."""
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _conditions(webhook: Object) -> list[Object]:
    return webhook.get("matchConditions") or []
