"""`python -m tests.perf.bare webhook …`: the webhook as it would be if it counted nothing."""

from collections.abc import Iterable
from typing import Any

import app.telemetry.metrics
from app.cli import main


class Uncounted(app.telemetry.metrics.WebhookMetrics):
    """Instruments that are never told of a review."""

    def answered(self, stage: str, operation: str, outcome: Any, codes: Iterable[str], **_: Any) -> None:
        """Count nothing."""


if __name__ == "__main__":
    app.telemetry.metrics.WebhookMetrics = Uncounted  # type: ignore[misc]  # what the command builds, a moment later
    main()
