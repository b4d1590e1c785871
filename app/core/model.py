"""What the parts of the policy have in common: how strictly they are read."""

import enum

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A frozen part of the policy: camelCase, strict, no unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        # Validators are slow to build, and the built-in policy needs none: its defaults come from model_construct.
        defer_build=True,
    )


class Permission(enum.Enum):
    """Whether teams may use one of our annotations."""

    ALLOW = "Allow"
    FORBID = "Forbid"
