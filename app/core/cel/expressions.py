"""Kubernetes' Common Expression Language as text: literals, conditions, globs and sentences.

Texts of a policy appear as literals only. CEL's regular expressions are RE2's, which take linear time.
"""

import json
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from app.core.rules.findings import QUOTED
from app.core.rules.predicates import fully

TRUE, FALSE = "true", "false"
_PLAIN = re.compile(r"[^*?\[]*")
_BRACKET = re.compile(r"\[!?+\]?+[^]]*\]")
_HOLE = "\0"
_ASCII = range(128)
_BEYOND = "\N{LATIN SMALL LETTER E WITH ACUTE}"
"""Replaces every character beyond ASCII."""


def literal(value: str | int) -> str:
    """Return a text or a whole number as a CEL literal; CEL has the same escapes as JSON."""
    return json.dumps(value, ensure_ascii=False)


def array(values: Iterable[str | int]) -> str:
    """Return a list of literals."""
    return f"[{', '.join(map(literal, values))}]"


def both(*conditions: str) -> str:
    """Join conditions with AND."""
    parts = [condition for condition in conditions if condition != TRUE]
    if FALSE in parts:
        return FALSE
    return " && ".join(map(_grouped, parts) if len(parts) > 1 else parts) or TRUE


def either(*conditions: str) -> str:
    """Join conditions with OR."""
    parts = [condition for condition in conditions if condition != FALSE]
    if TRUE in parts:
        return TRUE
    return " || ".join(parts) or FALSE


def negated(condition: str) -> str:
    """Return the negated condition."""
    return {TRUE: FALSE, FALSE: TRUE}.get(condition) or f"!({condition})"


def globbed(subject: str, globs: Iterable[str]) -> str:
    """Return the condition that a lower-case text matches one of the globs, like `globs.matches`.

    A bracket that lists letters beyond ASCII matches all of them, or none.
    """
    lowered = dict.fromkeys(glob.lower() for glob in globs)
    exact = [glob for glob in lowered if _PLAIN.fullmatch(glob)]
    others = [_globbed(subject, glob) for glob in lowered if glob not in exact]
    return either(*([f"{subject} in {array(exact)}"] if exact else []), *others)


def hole(expression: str) -> str:
    """Return the placeholder of an expression in a text; `spoken` replaces it."""
    return f"{_HOLE}{expression}{_HOLE}"


def spoken(text: str) -> str:
    """Return a text with placeholders as an expression."""
    parts = text.split(_HOLE)
    return " + ".join(part if index % 2 else literal(part) for index, part in enumerate(parts) if part)


def printable(subject: str) -> str:
    """Return a text like `findings.printable`; one that is not all printable ASCII becomes a question mark."""
    cut = f'[{subject}].map(text, text.size() > {QUOTED} ? text.substring(0, {QUOTED}) + "…" : text)'
    return f'{cut}.map(text, {fully("text", "[ -~]*…?")} ? text : "?")[0]'


def quoted(subject: str) -> str:
    """Return the placeholder of a text in quotes."""
    return f'"{hole(printable(subject))}"'


def _grouped(condition: str) -> str:
    return f"({condition})" if " || " in condition or " ? " in condition else condition


def _globbed(subject: str, glob: str) -> str:
    head, star, tail = glob.partition("*")
    if star and not tail and _PLAIN.fullmatch(head):
        return f"{subject}.startsWith({literal(head)})" if head else TRUE
    if star and not head and _PLAIN.fullmatch(tail):
        return f"{subject}.endsWith({literal(tail)})"
    return fully(subject, f"(?s:{''.join(_tokens(glob))})")


def _tokens(glob: str) -> Iterator[str]:
    place = 0
    while place < len(glob):
        bracket = _BRACKET.match(glob, place)
        if bracket:
            yield _class(bracket.group())
            place = bracket.end()
            continue
        char = glob[place]
        yield {"*": ".*", "?": "."}.get(char) or _quoted(char)
        place += 1


def _class(bracket: str) -> str:
    """Return a glob's bracket as a character class, by testing each character."""
    wide = fnmatchcase(_BEYOND, bracket)
    listed = [code for code in _ASCII if fnmatchcase(chr(code), bracket) is not wide]
    chars = "".join(_quoted(chr(code)) for code in listed)
    if wide:
        return f"[^{chars}]" if chars else "."
    return f"[{chars}]" if chars else r"[^\x{0}-\x{10FFFF}]"


def _quoted(char: str) -> str:
    return char if char.isascii() and char.isalnum() else f"\\x{{{ord(char):X}}}"
