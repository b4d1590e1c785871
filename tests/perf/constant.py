"""`python -m tests.perf.constant webhook …`: in the webhook's place, a FastAPI route that answers a constant.

It has the webhook's uvicorn, TLS and settings. It decodes nothing, and so costs what any webhook in FastAPI costs.
"""

from typing import Any

from fastapi import FastAPI, Response

import app.webhook.server
from app.cli import main
from app.webhook.admission import Stage

ANSWER = (
    b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",'
    b'"response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}'
)


async def answer() -> Response:
    """Answer every review in the same way."""
    return Response(ANSWER, media_type="application/json")


def create_app(*_webhook: Any) -> FastAPI:
    """Build the application with the same two routes, as FastAPI's own page would."""
    routes = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=app.webhook.server._NO_TELEMETRY)
    for stage in Stage:
        routes.post(f"/{stage.value}")(answer)
    return routes


if __name__ == "__main__":
    app.webhook.server.create_app = create_app  # type: ignore[assignment]  # what the command builds, a moment later
    main()
