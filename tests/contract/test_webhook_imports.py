"""What the webhook's process carries: nothing that talks to an API server, nothing that is not needed."""

import subprocess
import sys

NEEDLESS = {"kubernetes", "urllib3", "requests", "watchfiles", "websockets", "dotenv", "h11", "cryptography"}


def imported(module: str) -> set[str]:
    """Return the packages in a fresh process after an import."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_webhook_carries_no_kubernetes_client_and_nothing_needless() -> None:
    packages = imported("app.webhook")
    assert {"fastapi", "uvloop", "httptools"} <= packages
    assert not packages & NEEDLESS


def test_the_health_server_carries_no_web_framework() -> None:
    assert not imported("app.health") & {*NEEDLESS, "fastapi", "pydantic", "yaml"}
