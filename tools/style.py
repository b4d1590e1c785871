"""`python -m tools.style`, a part of `make lint`: no phrase that we have replaced comes back.

It reads pages, help, messages, comments and the chart as one text each, so that a phrase is found across line breaks.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("app/**/*.py", "docs/**/*.md", "charts/**/*.md", "charts/**/*.yaml", "charts/**/*.txt", "examples/**/*.*",
          "certs/*.*", "tools/**/*.py", "tests/README.md", "README.md", "CONTRIBUTING.md")  # fmt: skip
PHRASES = {
    r"ask the webhooks no more": "stop the API server's calls to the webhooks",
    r"one that the guard is asked for": "the webhooks must apply to it",
    r"which hold though every webhook is down": "enforced even while the webhook is down",
    r"writes on without renewing": "may keep writing when it cannot renew the Lease",
    r"from which level on": "minimum log level",
    r"take the guard out of a cluster": "remove the webhook configurations, ...",
    r": sound\b(?!,)": ": valid",
    r"this is no pod with a token": "no kubeconfig: ... does not exist",
    r"does not know who asks": "authentication failed (401)",
    r"speaks no TLS": "the endpoint does not speak TLS",
    r": the other one\b": ": conflicting object",
    r"trusted no longer": "removed previous CA certificates from caBundle",
    r"to trust the authority": "cannot set caBundle",
    r"reports are written as nothing": "not writing reports",
    r"is written later": "writing ... failed, will retry",
    r"turns DNS back": "reverted resolution",
    r"no whole body came": "client disconnected before the request body was complete",
    r"that failed and are made again": "failed attempts",
    r"were in force since the start": "policies loaded since start",
    r"has no webhook asked": "disables every webhook",
    r"yet cannot be meant": "settings that contradict each other",
    r"without a grip": "observe without enforcing",
    r"can be gone around": "cannot be bypassed",
    r"\bwhose the webhook'?s? certificate": "who provides the certificate",
    r"stands there a moment later": "is created a moment later",
    r"\b(?:nobody|somebody|whoever)\b": "name the person or the process",
    r"what is told of\b": "name the Event or the message",
    r"\bwho asks\b": "the client, or the API server",
    r"\bwhose it is\b": "the owner",
    r"\bcome of it\b|\bcomes of it\b": "name the result",
}
"""Regular expressions by what is to be written instead; letters of both cases are meant."""
STILL: dict[str, int] = {
    r"ask the webhooks no more": 1,
    r": sound\b(?!,)": 2,
    r"does not know who asks": 1,
    r"speaks no TLS": 1,
    r": the other one\b": 1,
    r"trusted no longer": 1,
    r"to trust the authority": 1,
    r"is written later": 2,
    r"no whole body came": 1,
    r"that failed and are made again": 4,
    r"were in force since the start": 3,
    r"has no webhook asked": 1,
    r"yet cannot be meant": 1,
    r"\bwhose the webhook'?s? certificate": 2,
    r"\b(?:nobody|somebody|whoever)\b": 36,
    r"what is told of\b": 2,
    r"\bwho asks\b": 1,
    r"\bwhose it is\b": 4,
    r"\bcome of it\b|\bcomes of it\b": 1,
}
"""How often a phrase still stands, until it is replaced there. Numbers only fall."""
LITERALS = re.compile(r"\"\s*\n\s*f?\"")
"""The end of a string literal and the beginning of the next one, which Python joins."""
BREAKS = re.compile(r"\s*\n\s*(?:#|//)?\s*|\s+")
"""What stands between two words of a sentence: line breaks, and the marks of comments."""


def texts() -> Iterator[tuple[Path, str]]:
    """Yield each file with its text on one line."""
    for place in PLACES:
        for path in sorted(ROOT.glob(place)):
            if path.is_file() and path != Path(__file__):
                yield path, BREAKS.sub(" ", LITERALS.sub("", path.read_text()))


def main() -> int:
    """Print where phrases stand of which there are more than before; the exit code is 1 if there are any."""
    found: dict[str, list[str]] = {phrase: [] for phrase in PHRASES}
    for path, text in texts():
        for phrase in PHRASES:
            for match in re.finditer(phrase, text, re.IGNORECASE):
                context = text[max(0, match.start() - 40) : match.end() + 40]
                found[phrase].append(f"{path.relative_to(ROOT)}: …{context}…")
    failed = False
    for phrase, places in found.items():
        if len(places) > STILL.get(phrase, 0):
            failed = True
            print(f"{phrase!r} ({len(places)} times, {STILL.get(phrase, 0)} before); instead: {PHRASES[phrase]}")
            print(*places, sep="\n")
        elif len(places) < STILL.get(phrase, 0):
            print(f"{phrase!r} stands only {len(places)} times: lower its number in tools/style.py")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
