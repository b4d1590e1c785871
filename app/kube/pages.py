"""The pages of a list, as the API server sends them. A proxy before it may send anything else.

An object as Python's dictionaries takes four times the memory of its JSON, so a page keeps the JSON, and each object is
decoded when its turn comes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from app.kube.errors import ApiError


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    metadata: _Metadata | None = None
    items: list[msgspec.Raw] | None = None


_NO_METADATA = _Metadata()
_list = msgspec.json.Decoder(_List)
_object = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class ListPage:
    """A part of a list: `resource_version` is that of the whole list; `continue_` is empty on the last page."""

    raw: tuple[msgspec.Raw, ...]
    """The JSON of each object."""
    resource_version: str
    continue_: str

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a response. Raises ApiError."""
        try:
            found = _list.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _no_list(error) from error
        metadata = found.metadata or _NO_METADATA
        return cls(tuple(found.items or ()), metadata.resource_version, metadata.continue_)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the objects, decoded one at a time. Raises ApiError."""
        for each in self.raw:
            try:
                document = _object.decode(each)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _no_list(error) from error
            yield document

    @property
    def items(self) -> list[dict[str, Any]]:
        """All objects, decoded. Raises ApiError."""
        return list(self)


def _no_list(error: Exception) -> ApiError:
    return ApiError(200, "NoList", f"the API server did not return a list: {error}")
