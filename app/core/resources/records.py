"""Records: objects that never change, such as entries, findings and verdicts."""

from typing import dataclass_transform

from msgspec import Struct, field
from msgspec.structs import replace

__all__ = ["Record", "field", "replace"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record(Struct, frozen=True, gc=False):
    """The base of a record: its objects are compared and hashed by their fields, and `replace` makes a changed copy.

    The garbage collector does not look at records, because an object that never changes cannot be part of a cycle. So
    no record may be put into a mutable object that it contains. docs/decisions/records.md says what was measured.
    """
