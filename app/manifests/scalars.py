"""The values of YAML scalars as kubectl reads them (YAML 1.1 without sexagesimals, timestamps and infinities)."""

import re

from app.core.resources.service_entry import JSON

_SPELLINGS = {None: ("~", "null"), True: ("y", "yes", "true", "on"), False: ("n", "no", "false", "off")}
_WORDS = {
    spelling: meaning
    for meaning, words in _SPELLINGS.items()
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
} | {"": None}
_INTEGER = re.compile(r"[-+]?(?:0b[01]{1,64}|0o?[0-7]{1,22}|0x[0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19})")
_OCTAL = re.compile(r"^([-+]?)0([0-7]+)$")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMERIC = frozenset("+-.0123456789")


def plain(text: str) -> JSON:
    """Return the value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if text[0] in _NUMERIC else text


def _number(text: str) -> JSON:
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        return int(_OCTAL.sub(r"\g<1>0o\2", digits), 0)
    return float(digits) if _FLOAT.fullmatch(digits) else text
