"""Records: objects that never change, such as entries, findings and verdicts.

At run time `frozen=True` would double the time of declaring such a class and of creating an object, because each field
is then set through `object.__setattr__`. A review in a pipeline declares a hundred of them, and a verdict creates a
dozen. So records are frozen for mypy, which rejects every assignment to a field, and not again at run time.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a class a dataclass with slots whose objects are compared and hashed by their fields."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
