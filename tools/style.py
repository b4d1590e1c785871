"""`python -m tools.style`, a part of `make lint`: it finds phrases that we have replaced by plainer ones.

It reads pages, help, messages, comments and the chart as one text per file, to find phrases across line breaks.
Of the tests it reads the names of the functions, as sentences.
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
    r"\b(?:nobody|somebody|anybody|whoever)\b": "name the person or the process",
    r"what is told of\b": "name the Event or the message",
    r"\bwho asks\b": "the client, or the API server",
    r"\bwhose it is\b": "the owner",
    r"\bcome of it\b|\bcomes of it\b": "name the result",
    r"\bin the company of\b": "together with",
    r"\bstands? (?:or|and) falls? together\b": "get the same treatment",
    r"\bstands? (?:beside|there|elsewhere)\b": "say where the object or the text is",
    r"\bthere is to (?:say|tell|decide)\b": "name the finding, the Event or the decision",
    r"\bwhat (?:becomes|became) of\b": "the verdict on, the result of, what happens to",
    r"\bless and less often\b": "with increasing delay",
    r"\bheld? (?:them |both |it )?against\b": "compare with",
    r"\bcame, changed or went\b": "added, changed or deleted",
    r"\bnot for use from several threads\b": "not safe for threads",
    r"\bsentence for a person\b": "one sentence",
    r"\bwithout a word from\b": "without an event of",
    r"\bbegun anew\b|\bmade anew\b|\banew\b": "again",
    r"\blaid over\b": "merged into",
    r"\bpass(?:ed|es) over\b": "skip, ignore",
    r"\bhonoured\b": "has an effect",
    r"\bnothing where\b|\bnone where\b": "empty if, None if",
    r"\bthough (?:every|they|it|the|not)\b": "although, even if",
    r"\bdearest\b": "most expensive",
    r"\bfor what they lack\b|\bwhat (?:it|they) lacks?\b": "say what is missing",
    r"\ba bug in %s\b": "unexpected error in %s",
    r"; again in %": "retrying in %.1f s",
    r"\bis (?:patched|written|remediated|reconciled|looked at) (?:again )?later\b": "failed, will retry",
    r"\bshown by the leader only\b": "leader only",
    r"\b(?:is|are) asked no more\b|\bask the webhooks?\b": "the API server calls the webhook",
    r"(?<!there )\b(?:is|are) no (?!longer\b|more\b|later\b|one\b)": "is not a ...",
    r"\bwhat is no(?:ne)?\b|, is none\b|\b(?:is|are) none of\b": "say what is missing or invalid",
    r"\bone before (?:it|stays|is)\b|\bpolicy before it\b": "the previous one",
    r"\bof (?:somebody|someone) else's?\b": "of another team, not managed by the guard",
}
"""Regular expressions, which ignore case, by the words to write instead."""
STILL: dict[str, int] = {}
"""Number of places where a phrase is still used, until they are rewritten. Numbers only fall."""
LITERALS = re.compile(r"\"\s*\n\s*f?\"")
"""The end of a string literal and the beginning of the next one, which Python joins."""
NAMES = re.compile(r"\bdef (test_\w+)")
"""Names of test functions, which are read as sentences."""
BREAKS = re.compile(r"\s*\n\s*(?:#|//)?\s*|\s+")
"""The text between two words of a sentence: line breaks, and the marks of comments."""


def texts() -> Iterator[tuple[Path, str]]:
    """Yield each file with its text on one line."""
    for place in PLACES:
        for path in sorted(ROOT.glob(place)):
            if path.is_file() and path != Path(__file__):
                yield path, BREAKS.sub(" ", LITERALS.sub("", path.read_text()))
    for path in sorted(ROOT.glob("tests/**/*.py")):
        yield path, ", ".join(NAMES.findall(path.read_text())).replace("_", " ")


def main() -> int:
    """Print the places of phrases that are used more often than STILL allows; exit code 1 if there are any."""
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
            print(f"{phrase!r} is used only {len(places)} times: lower its number in tools/style.py")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
