"""The webhook's log as a process: a line for each admission, no bodies at any level, a level that can be changed."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.bed.guard import HOST, Webhook
from tests.contract.clients import REVIEW, Client, request
from tests.contract.webhooks import until

SECRET = "s3cr3t-that-no-log-may-have"  # noqa: S105 - it is none


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[Webhook, Client]]:
    """A webhook, and a connection to it."""
    with Webhook(folder, arguments) as webhook:
        authority = folder / "ca.crt"
        authority.write_bytes(webhook.authority.certificate)
        with Client(f"{HOST}:{webhook.port}", authority) as client:
            yield webhook, client


@pytest.fixture(scope="module")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Webhook, Client]]:
    """A webhook that logs JSON at level debug."""
    with running(tmp_path_factory.mktemp("webhook"), "--log-level=debug") as both:
        yield both


def admissions(webhook: Webhook, count: int) -> list[dict[str, Any]]:
    """The canonical lines, once there are as many."""

    def lines() -> list[dict[str, Any]]:
        written = [json.loads(line) for line in webhook.child.log.read_text().splitlines(keepends=True) if "\n" in line]
        return [line for line in written if line["message"] == "admission"]

    until(lambda: len(lines()) >= count)
    return lines()


def level(webhook: Webhook, put: str | None = None) -> str:
    """What the health port says of the level, after it was changed or not."""
    connection = HTTPConnection(HOST, webhook.health_port, timeout=10)
    connection.request("PUT" if put else "GET", "/loglevel", put)
    answer = connection.getresponse().read().decode().strip()
    connection.close()
    return answer


def test_each_admission_is_one_line_of_json_without_the_body(debugged: tuple[Webhook, Client]) -> None:
    webhook, client = debugged
    forged = json.loads(json.dumps(REVIEW))
    forged["request"]["name"] = 'x\n{"message":"admission"}'
    forged["request"]["userInfo"] |= {"username": "system:serviceaccount:" + "n" * 1000, "extra": {"token": [SECRET]}}
    forged["request"]["object"]["metadata"]["annotations"] = {"note": SECRET}
    client.ask(request(json.dumps(forged).encode(), authorization=f"Bearer {SECRET}"))
    client.ask(request(json.dumps(forged).encode(), path="/validate"))
    client.ask(request(f'{{"kind": "{SECRET}"}}'.encode()))
    mutated, validated = admissions(webhook, 2)
    written = webhook.child.log.read_text()
    assert mutated.pop("milliseconds") >= 0
    del mutated["time"]
    assert mutated == {
        "level": "info",
        "logger": "app.webhook.server",
        "message": "admission",
        "stage": "mutate",
        "uid": REVIEW["request"]["uid"],
        "operation": "CREATE",
        "namespace": "team",
        "name": forged["request"]["name"],
        "user": forged["request"]["userInfo"]["username"][:512],
        "verdict": "patched",
        "codes": ["SEG003"],
    }
    assert (validated["stage"], validated["verdict"], validated["codes"]) == ("validate", "denied", ["SEG012"])
    assert SECRET not in written
    assert "api.example.com" not in written


def test_the_level_is_changed_while_it_runs(debugged: tuple[Webhook, Client]) -> None:
    webhook, client = debugged
    assert level(webhook, "error") == "error"
    before = len(admissions(webhook, 0))
    client.ask()
    assert level(webhook, "info") == "info"
    client.ask()
    assert len(admissions(webhook, before + 1)) == before + 1
    os.kill(webhook.child.pid, signal.SIGUSR1)
    until(lambda: level(webhook) == "debug")
    os.kill(webhook.child.pid, signal.SIGUSR1)
    until(lambda: level(webhook) == "info")


def test_text_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, "--log-format=text") as (webhook, client):
        client.ask()
        until(lambda: " INFO app.webhook.server: admission stage=mutate uid=" in webhook.child.log.read_text())
