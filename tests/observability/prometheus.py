"""A real Prometheus on loopback that scrapes the guard every second, and holds the chart's alerts against it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from tests.bed.guard import HOST, fetch
from tests.bed.ports import free_port
from tests.bed.processes import Child
from tests.observability.watching import ALERTS

NAMESPACE = "guard-system"
"""What its targets are labelled with, as a ServiceMonitor has it."""


class Prometheus:
    """One that scrapes these jobs, each a name and the port of a target. Labels are kept as the chart has them kept.

    `guarded`: it answers nothing without credentials.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        jobs: Mapping[str, int],
        *flags: str,
        guarded: bool = False,
        every: str = "1s",
    ) -> None:
        self._guarded = guarded
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}"
        configuration = folder / "prometheus.yaml"
        configuration.write_text(yaml.safe_dump(_configuration(jobs, every)))
        self._child = Child(
            program, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{self._port}", *flags, log=folder / "prometheus.log",
        )  # fmt: skip

    def __enter__(self) -> Self:
        """Start, and wait until it answers queries."""
        self._child.start()
        if self._guarded:
            self._child.wait_until_listening(self._port, seconds=60.0)
        else:
            self._child.wait_until_answering(f"{self.url}/-/ready", seconds=60.0)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._child.stop()

    def pause(self) -> None:
        """Freeze it: its port takes connections still, and nothing is answered."""
        self._child.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._child.resume()

    def query(self, query: str) -> list[float]:
        """The values of an instant query that are numbers, at this moment."""
        result = self._get("query", query=query)["result"]
        return [number for one in result if math.isfinite(number := float(one["value"][1]))]

    def label_values(self, label: str, selector: str) -> list[str]:
        """The values of a label among these series, as Grafana asks for them."""
        return list(self._get(f"label/{label}/values", **{"match[]": selector}))

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Every alerting rule as Prometheus has it, with its health and its state, by name."""
        groups = self._get("rules", type="alert")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def _get(self, path: str, **query: str) -> Any:
        answer = json.loads(fetch(self._port, f"/api/v1/{path}?{urlencode(query)}"))
        assert answer["status"] == "success", answer
        return answer["data"]


def _configuration(jobs: Mapping[str, int], every: str) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {
                "job_name": name,
                "honor_labels": True,
                "static_configs": [{"targets": [f"{HOST}:{port}"], "labels": {"namespace": NAMESPACE}}],
            }
            for name, port in jobs.items()
        ],
    }
