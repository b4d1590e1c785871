"""The policy file: read from disk, parsed by the core."""

from pathlib import Path

import yaml

from app.core.policy import GuardPolicy, default_policy, parse_policy
from app.core.problems import PolicyError

SIZE_LIMIT = 1024 * 1024
"""Largest policy file, in bytes: what a ConfigMap can hold."""


def load_policy(path: Path | None) -> GuardPolicy:
    """Return the policy in a file, or the built-in one without a file; raises PolicyError."""
    if path is None:
        return default_policy()
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read: {error.strerror}"]) from None
    if len(content) > SIZE_LIMIT:
        raise PolicyError([f"{path}: is larger than {SIZE_LIMIT} bytes"])
    try:
        return parse_policy(yaml.load(content, Loader=yaml.CSafeLoader))
    except yaml.YAMLError as error:
        raise PolicyError([f"{path}: is not YAML: {' '.join(str(error).split())}"]) from None
    except PolicyError as error:
        raise PolicyError([f"{path}: {problem}" for problem in error.problems]) from None
