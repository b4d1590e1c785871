"""CEL as the tables of rules write it: a predicate beside its twin in Python."""

import json


def fully(subject: str, pattern: str) -> str:
    """Return the condition that a whole text matches a regular expression (RE2)."""
    return partly(subject, f"^(?:{pattern})$")


def partly(subject: str, pattern: str) -> str:
    """Return the condition that some part of a text matches a regular expression (RE2)."""
    return f"{subject}.matches({json.dumps(pattern, ensure_ascii=False)})"
