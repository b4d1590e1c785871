"""Records: objects that never change, such as entries, findings and verdicts."""

from typing import dataclass_transform

from msgspec import Struct, field
from msgspec.structs import replace

__all__ = ["Record", "field", "replace"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record(Struct, frozen=True, gc=False):
    """The base of a record: its objects are compared and hashed by their fields, and `replace` makes a changed copy.

    The garbage collector does not look at records. A record can be part of a cycle only through a mutable object or a
    function that it contains, so none of these may refer to the record (docs/decisions/records.md).
    """
