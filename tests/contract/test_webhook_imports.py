"""What the webhook's process carries: nothing that talks to an API server, nothing that is not needed."""

import subprocess
import sys
from pathlib import Path

NEEDLESS = {"kubernetes", "urllib3", "requests", "watchfiles", "websockets", "dotenv", "h11", "cryptography"}
SERVERS = {"fastapi", "starlette", "uvicorn", "prometheus_client", "httptools", "uvloop", "opentelemetry"}
SLOW = {"pydantic", "typer", "rich", "logging", "ssl", "subprocess", "email", "tempfile"}
"""What a review without a policy of its own would only wait for."""
REVIEW = "from app.cli import cli; cli(['review', {file!r}], standalone_mode=False)"
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example.com], resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}
"""


def imported(module: str, then: str = "") -> set[str]:
    """Return the packages in a fresh process after an import, and perhaps after more."""
    code = f"import sys, {module}; {then}\nprint('modules:', *{{name.partition('.')[0] for name in sys.modules}})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(process.stdout.rpartition("modules:")[2].split())


def test_the_webhook_carries_no_kubernetes_client_and_nothing_needless() -> None:
    packages = imported("app.webhook.server")
    assert {"fastapi", "uvloop", "httptools"} <= packages
    assert not packages & NEEDLESS


def test_the_health_server_carries_no_web_framework() -> None:
    assert not imported("app.serving.health") & {*NEEDLESS, "fastapi", "pydantic", "yaml"}


def test_the_command_that_serves_carries_no_more() -> None:
    packages = imported("app.cli.servers, app.webhook.server")
    assert {"click", "fastapi"} <= packages
    assert not packages & {*NEEDLESS, "typer", "rich", "shellingham"}


def test_a_review_carries_neither_servers_nor_a_client(tmp_path: Path) -> None:
    file = tmp_path / "entry.yaml"
    file.write_text(ENTRY)
    packages = imported("app.cli", REVIEW.format(file=str(file)))
    assert {"click", "yaml"} <= packages
    assert not packages & {*NEEDLESS, *SERVERS, *SLOW}
