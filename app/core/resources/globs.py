"""Globs: shell patterns (`*`, `?`, `[…]`) over names and hosts, in lower case."""

import re
from fnmatch import translate
from functools import lru_cache


def matches(text: str, globs: tuple[str, ...]) -> bool:
    """Say whether a text matches any of the globs, ignoring case; no glob causes backtracking."""
    return bool(globs) and _compiled(globs).fullmatch(text.lower()) is not None


def covers_glob(wide: str, narrow: str) -> bool:
    """Say whether `wide` matches everything that `narrow` matches; False also if that is hard to determine."""
    if wide.lower() == narrow.lower():
        return True
    return not {"?", "["} & {*wide} and "[" not in narrow and matches(narrow, (wide,))


@lru_cache(maxsize=1024)
def _compiled(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob.lower()) for glob in globs))
