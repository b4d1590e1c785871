"""Instant queries to Prometheus, or to a server with its HTTP API (Thanos, Mimir, VictoriaMetrics).

A response is decoded one series at a time while it arrives, and is never in memory completely. Every failure is a
PrometheusError, whose message is one sentence. Redirects are not followed, because they would get the token.
"""

import codecs
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from app.core.resources.fields import JSON

CHUNK = 64 * 1024
LONGEST_SERIES = 1024 * 1024
"""Maximum size of one series, in bytes."""
MOST_SERIES = 2_000_000
"""Maximum number of series in a response."""
_BEGIN = '"result":['
_DECODER = json.JSONDecoder()
_QUOTED = 200


class PrometheusError(Exception):
    """The metrics cannot be read; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of Prometheus and the settings of queries; `timeout` in seconds limits each whole query."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a response: its labels, its value, and the time of the evaluation in seconds since the epoch."""

    labels: dict[str, str]
    value: float
    time: float


class Prometheus:
    """A client of one Prometheus, with one connection."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises PrometheusError if the address or a file cannot be used."""
        self._endpoint = endpoint
        self._clock = clock
        self._shown = _shown(endpoint.url)
        self._pool = urllib3.PoolManager(num_pools=1, ssl_context=_trusting(endpoint.ca_file), retries=False)

    def query(self, expression: str, at: float | None = None) -> Iterator[Sample]:
        """Yield the series of an instant query at a time in seconds (None: now); raises PrometheusError."""
        moment = {} if at is None else {"time": f"{at:.3f}"}
        limit = {"timeout": f"{max(1, int(self._endpoint.timeout))}s"}
        target = f"{self._endpoint.url.rstrip('/')}/api/v1/query?{urlencode({'query': expression, **moment, **limit})}"
        deadline = self._clock() + self._endpoint.timeout
        try:
            response = self._send(target)
            try:
                self._check(response)
                yield from self._samples(self._chunks(response, deadline))
            finally:
                response.close()
        except urllib3.exceptions.NewConnectionError as error:  # urllib3 counts it as a timeout
            raise PrometheusError(f"Prometheus at {self._shown} does not answer: {_reason(error)}") from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise self._slow() from error
        except urllib3.exceptions.HTTPError as error:
            raise PrometheusError(f"Prometheus at {self._shown} does not answer: {_reason(error)}") from error

    def _send(self, target: str) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", **self._authorization()}
        timeout = urllib3.Timeout(connect=min(5.0, self._endpoint.timeout), read=self._endpoint.timeout)
        return self._pool.request(
            "GET", target, headers=headers, timeout=timeout, redirect=False, preload_content=False
        )

    def _authorization(self) -> dict[str, str]:
        """Read the token again for each query, because tokens of service accounts change."""
        if not self._endpoint.token_file:
            return {}
        token = _existing(self._endpoint.token_file).read_text(encoding="utf-8").strip()
        if not token.isascii() or not token.isprintable() or not token:
            raise PrometheusError(f"{self._endpoint.token_file} does not contain a token")
        return {"Authorization": f"Bearer {token}"}

    def _check(self, response: urllib3.BaseHTTPResponse) -> None:
        if response.status in {401, 403}:
            hint = "set --prometheus-token-file" if not self._endpoint.token_file else "the token is not accepted"
            raise PrometheusError(f"Prometheus at {self._shown} rejects the credentials ({response.status}): {hint}")
        if 300 <= response.status < 400:
            raise PrometheusError(f"{self._shown} redirects to another address; use that address for --prometheus")
        if response.status >= 400:
            said = _error(response.read1(CHUNK) or b"")
            if "timed out" in said:
                raise self._slow()
            raise PrometheusError(f"Prometheus at {self._shown} rejects the query ({response.status}): {said}")

    def _chunks(self, response: urllib3.BaseHTTPResponse, deadline: float) -> Iterator[str]:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while chunk := response.read1(CHUNK):
            if self._clock() > deadline:
                raise self._slow()
            yield decode(chunk)

    def _samples(self, chunks: Iterator[str]) -> Iterator[Sample]:
        """Decode one series after the other, and then check the rest of the response."""
        try:
            for number, (document, rest) in enumerate(_documents(chunks)):
                if document is None:
                    self._insist_on_all(rest)
                    return
                if number == MOST_SERIES:
                    raise PrometheusError(f"Prometheus at {self._shown} returns more than {MOST_SERIES:,} series")
                yield Sample(document["metric"], float(document["value"][1]), float(document["value"][0]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise PrometheusError(f"{self._shown} did not return a Prometheus response") from error

    def _insist_on_all(self, rest: str) -> None:
        """Check for warnings after the result, such as that of Thanos about a store that does not respond."""
        document = json.loads('{"data":{"result":[' + rest)
        if warnings := document.get("warnings"):
            raise PrometheusError(
                f"Prometheus at {self._shown} returned only a part of the data: {_clean(warnings[0])}"
            )

    def _slow(self) -> PrometheusError:
        return PrometheusError(
            f"Prometheus at {self._shown} does not answer within {self._endpoint.timeout:g} s; "
            "a shorter --metrics-window asks for less"
        )


def _documents(chunks: Iterator[str]) -> Iterator[tuple[JSON, str]]:
    """Yield the objects of the result as they arrive; then None with the rest of the response. Raises ValueError."""
    text = ""
    while _BEGIN not in text:
        text += _more(chunks, text)
    text = text[text.index(_BEGIN) + len(_BEGIN) :]
    place = 0
    while True:
        place = _skip(text, place)
        if place < len(text) and text[place] == "]":
            yield None, text[place:] + "".join(chunks)
            return
        try:
            document, place = _DECODER.raw_decode(text, place)
        except json.JSONDecodeError:
            text, place = text[place:], 0
            text += _more(chunks, text)
        else:
            yield document, ""


def _more(chunks: Iterator[str], text: str) -> str:
    """Return the next piece; raises ValueError if there is none, or if a series is too long."""
    if len(text) > LONGEST_SERIES:
        raise ValueError("too long for one series")
    chunk = next(chunks, None)
    if chunk is None:
        raise ValueError("the answer ends early")
    return chunk


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in ", \r\n\t":
        place += 1
    return place


def _error(body: bytes) -> str:
    try:
        document: Any = json.loads(body)
        return _clean(document["error"])
    except (ValueError, KeyError, TypeError):
        return "without an explanation"


def _clean(text: object) -> str:
    return " ".join(str(text).split())[:_QUOTED]


def _reason(error: Exception) -> str:
    """Say why the connection failed, without the object addresses in urllib3's messages."""
    text = str(getattr(error, "reason", None) or error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted; set --prometheus-ca-file"
    said = _clean(text.rpartition(": ")[2] or text)
    return re.sub(r"^\[Errno -?\d+\] ", "", said)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the CA certificates of a file; without a file, those of the machine."""
    try:
        return ssl.create_default_context(cafile=_existing(ca_file) if ca_file else None)
    except OSError as error:
        raise PrometheusError(f"{ca_file} is not a file of CA certificates in PEM") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise PrometheusError(f"{path} is not a file")
    return path


def _shown(url: str) -> str:
    """Return the address without credentials; raises PrometheusError if it is not valid."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise PrometheusError(f"{url!r} is not a URL such as https://prometheus.example:9090") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise PrometheusError(f"{url!r} is not a URL such as https://prometheus.example:9090")
    if parts.username:
        raise PrometheusError("the URL must not contain credentials; set --prometheus-token-file")
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"
