"""Patterns for the reason of an exemption: the subset of RE2's syntax that has the same meaning here and in CEL.

Python's `re` backtracks, and any author may write the matched text. So a pattern is compiled into a program whose
threads advance together, as in RE2: a match takes at most the length of the text times the length of the program.
Syntax outside the subset is an error when the policy is read.
"""

import string
from collections.abc import Iterator
from functools import lru_cache

from app.core.resources.records import Record

LONGEST = 200
"""Maximum length of a pattern."""
MOST_STEPS = 500
"""Maximum number of instructions of a program; {m,n} counts each repetition."""
MOST_REPEATS = 100
DEEPEST = 20
"""Maximum nesting of groups."""
_PUNCTUATION = frozenset(string.punctuation)
_MEANT = frozenset("\\.[]{}()*+?|^$")
"""Special characters; each is literal after a backslash."""

Range = tuple[int, int]
"""The first and the last code point."""
_NAMED: dict[str, tuple[Range, ...]] = {
    "d": ((48, 57),),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "s": ((9, 10), (12, 13), (32, 32)),
}
_BEGIN, _END = "begin", "end"


class Chars(Record):
    """Consumes one character that is in one of the ranges, or in none of them."""

    ranges: tuple[Range, ...]
    negated: bool = False

    def __contains__(self, code: int) -> bool:
        return any(first <= code <= last for first, last in self.ranges) is not self.negated


Step = Chars | str | tuple[int, ...]
"""Consumes a character, matches the beginning or end of the text, or continues at several offsets at once."""
Program = tuple[Step, ...]


class Pattern(Record):
    """A pattern as it is written."""

    text: str

    def __str__(self) -> str:
        return self.text

    def found_in(self, text: str) -> bool:
        """Say whether some part of a text matches, as CEL's `matches` does."""
        program = _program(self.text)
        threads: set[int] = set()
        for place in range(len(text) + 1):
            threads = _reached(program, {*threads, 0}, first=place == 0, last=place == len(text))
            if len(program) in threads:
                return True
            code = ord(text[place]) if place < len(text) else -1
            threads = {at + 1 for at in threads if isinstance(step := program[at], Chars) and code in step}
        return False


def parse_pattern(text: object) -> Pattern:
    """Read a pattern; a ValueError says what is outside the subset."""
    if not isinstance(text, str) or not text:
        raise ValueError("must be a pattern such as [A-Z]+-[0-9]+")
    _program(text)
    return Pattern(text)


@lru_cache(maxsize=64)
def _program(text: str) -> Program:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    if len(text) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters")
    return _Parser(text).program()


def _reached(program: Program, threads: set[int], *, first: bool, last: bool) -> set[int]:
    """Follow the instructions that consume no character."""
    found, waiting = set[int](), list(threads)
    while waiting:
        at = waiting.pop()
        if at in found:
            continue
        found.add(at)
        step = program[at] if at < len(program) else ()
        if isinstance(step, tuple):
            waiting.extend(at + offset for offset in step)
        elif (step == _BEGIN and first) or (step == _END and last):
            waiting.append(at + 1)
    return found


class _Parser:
    """A recursive-descent parser; each method returns the program of its part."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def program(self) -> Program:
        program = self._alternatives()
        if self._at < len(self._text):
            raise self._wrong("closes a group that is not open")
        return program

    def _alternatives(self) -> Program:
        program = self._sequence()
        while self._take("|"):
            other = self._sequence()
            program = ((1, len(program) + 2), *program, (len(other) + 1,), *other)
        return _bounded(program)

    def _sequence(self) -> Program:
        program: Program = ()
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            program = _bounded((*program, *self._repeated(self._atom())))
        return program

    def _atom(self) -> Program:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return (self._class(),)
        if char in "^$":
            return (_BEGIN if char == "^" else _END,)
        if char == ".":
            return (Chars(((10, 10),), negated=True),)
        if char == "\\":
            return (Chars(self._escaped()),)
        if char in _MEANT:
            raise self._wrong("must be escaped with a backslash here")
        return (Chars(((ord(char), ord(char)),)),)

    def _group(self) -> Program:
        if self._take("?") and not self._take(":"):
            raise self._wrong("begins a group that is not supported: write ( or (?:")
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"opens more than {DEEPEST} groups within each other")
        program = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise self._wrong("does not close its group")
        return program

    def _escaped(self) -> tuple[Range, ...]:
        char = self._next()
        if char in _NAMED:
            return _NAMED[char]
        if char not in _PUNCTUATION:
            raise self._wrong("is not supported after a backslash")
        return ((ord(char), ord(char)),)

    def _class(self) -> Chars:
        negated = self._take("^")
        ranges = list[Range]()
        while not self._take("]"):
            ranges += self._item()
        if not ranges:
            raise self._wrong("ends an empty class")
        return Chars(tuple(ranges), negated)

    def _item(self) -> tuple[Range, ...]:
        first, named = self._member()
        if named or self._text[self._at : self._at + 1] != "-" or self._text[self._at + 1 : self._at + 2] == "]":
            return first
        self._next()
        last, named = self._member()
        if named or last[0][0] < first[0][0]:
            raise self._wrong("ends an invalid range")
        return ((first[0][0], last[0][0]),)

    def _member(self) -> tuple[tuple[Range, ...], bool]:
        """Read a character of a class; the second value is True if it stands for several."""
        char = self._next()
        if char == "\\":
            ranges = self._escaped()
            return ranges, self._text[self._at - 1] in _NAMED
        if char == "[":
            raise self._wrong("must be escaped with a backslash here")
        return ((ord(char), ord(char)),), False

    def _repeated(self, program: Program) -> Program:
        if not (char := self._text[self._at : self._at + 1]) or char not in "*+?{":
            return program
        least, most = self._times()
        if self._text[self._at : self._at + 1] in {"*", "+", "?", "{"}:
            raise self._wrong("repeats a repetition")
        return _times(program, least, most)

    def _times(self) -> tuple[int, int | None]:
        char = self._next()
        if char != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        least = self._number()
        most: int | None = least
        if self._take(","):
            most = None if self._text[self._at : self._at + 1] == "}" else self._number()
        if not self._take("}") or (most is not None and most < least):
            raise self._wrong("does not end a repetition such as {2}, {2,} or {2,4}")
        return least, most

    def _number(self) -> int:
        digits = "".join(self._digits())
        if not digits or int(digits) > MOST_REPEATS:
            raise self._wrong(f"must be a number of at most {MOST_REPEATS}")
        return int(digits)

    def _digits(self) -> Iterator[str]:
        while self._text[self._at : self._at + 1] in {*"0123456789"}:
            yield self._next()

    def _take(self, char: str) -> bool:
        if self._text[self._at : self._at + 1] != char:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise ValueError("ends too early: a class, group or escape is not complete")
        self._at += 1
        return self._text[self._at - 1]

    def _wrong(self, why: str) -> ValueError:
        place = min(self._at, len(self._text))
        return ValueError(f"character {place} {why}")


def _times(program: Program, least: int, most: int | None) -> Program:
    """Expand a repetition; an empty part also counts as a step, so that the limits apply to it."""
    once = program or ((1,),)
    if most is None:
        more: Program = ((1, len(once) + 2), *once, (-len(once) - 1,))
    else:
        more = ()
        for _ in range(most - least):
            more = ((1, len(once) + len(more) + 1), *once, *more)
            more = _bounded(more)
    return _bounded((*(once * least), *more))


def _bounded(program: Program) -> Program:
    if len(program) > MOST_STEPS:
        raise ValueError(f"is too long with expanded repetitions: more than {MOST_STEPS} steps")
    return program
