"""The pages of a list, as the API server sends them. A proxy before it may send anything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from app.kube.errors import ApiError


@dataclass(frozen=True, slots=True)
class ListPage:
    """A part of a list: `resource_version` is that of the whole list; `continue_` is empty on the last page."""

    items: Sequence[dict[str, Any]]
    resource_version: str
    continue_: str

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """Read a response. Raises ApiError."""
        metadata, items = document.get("metadata") or {}, document.get("items") or []
        if not (isinstance(metadata, dict) and isinstance(items, list)):
            raise ApiError(200, "NoList", "the API server did not return a list")
        return cls(items, metadata.get("resourceVersion", ""), metadata.get("continue", ""))
