"""Findings: each sentence of the guard about an object has a stable code."""

import enum

from app.core.resources.records import Record
from app.core.resources.service_entry import Key
from app.core.rules import templates

QUOTED = 60
"""Maximum length of an author's text in a message, in characters."""


class Severity(enum.Enum):
    """ERROR rejects the entry, WARNING shows at admission, INFO shows only in reports and with a change."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Rule(Record):
    """A kind of finding. `code` never changes its meaning; `remedy` says what to write instead."""

    code: str
    name: str
    meaning: str
    remedy: str


class Finding(Record):
    """One finding on one object; `path` is a field in Kubernetes' notation, "" for the whole object.

    `other` is the kind and key of another object that the message names. `instead` replaces the rule's remedy if there
    is a better one for this object.
    """

    rule: Rule
    severity: Severity
    path: str
    message: str
    other: tuple[str, Key] | None = None
    instead: str = ""

    @property
    def code(self) -> str:
        """The rule's stable code."""
        return self.rule.code

    @property
    def remedy(self) -> str:
        """What to write instead."""
        return self.instead or self.rule.remedy

    @property
    def sentence(self) -> str:
        """Code, place and message in one line."""
        place = f" {self.path}" if self.path else ""
        return templates.SENTENCE.format(code=self.code, place=place, message=self.message)

    @property
    def advice(self) -> str:
        """The sentence, and what to write instead."""
        return templates.WITH_REMEDY.format(sentence=self.sentence, remedy=self.remedy)


def printable(text: str) -> str:
    """Return an author's text for a message, without control characters and with limited length."""
    if len(text) <= QUOTED and text.isprintable():
        return text
    shown = "".join(char if char.isprintable() else "?" for char in text[: QUOTED + 1])
    return shown if len(shown) <= QUOTED else f"{shown[:QUOTED]}…"


def quoted(text: str) -> str:
    """Return an author's text in quotes."""
    return f'"{printable(text)}"'


def and_more(message: str, count: int) -> str:
    """Add to a message that it applies to `count` places."""
    return message if count == 1 else templates.AND_MORE.format(message=message, more=count - 1)


def port_label(number: int, protocol: str) -> str:
    """Name a port in a message."""
    return templates.PORT.format(number=number, protocol=printable(protocol) or templates.NO_PROTOCOL)
