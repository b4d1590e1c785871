"""The alerts of the chart, without a cluster: promtool reads them, and has each fire, and not fire."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bed.require import require
from tests.observability.watching import ALERTS, alerts, known_series, names

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("alerts.yaml").read_text())


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    command = [require("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def as_test(case: dict[str, Any]) -> dict[str, Any]:
    """A case in promtool's words: what it leaves out of an alert is as the rule has it."""
    rule = alerts()[case["alert"]]
    expected = [
        {
            "exp_labels": {**rule["labels"], **one["labels"]},
            "exp_annotations": {**rule["annotations"], "description": one["description"]},
        }
        for one in case.get("fires", ())
    ]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case["series"].items()],
        "alert_rule_test": [{"eval_time": case["at"], "alertname": case["alert"], "exp_alerts": expected}],
    }


def test_promtool_finds_nothing_to_say() -> None:
    checked = promtool("check", "rules", "--lint-fatal", ALERTS)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['alert']} {case['rule']}")
def test_an_alert(case: dict[str, Any], tmp_path: Path) -> None:
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [as_test(case)]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(document))
    tested = promtool("test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_seen_to_fire_and_seen_to_be_quiet() -> None:
    seen = {(case["alert"], bool(case.get("fires"))) for case in CASES}
    assert seen == {(name, fires) for name in alerts() for fires in (True, False)}


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_bad_it_is_what_it_means_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert all(text.endswith(".") for key, text in rule["annotations"].items() if key != "runbook_url")
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


@pytest.mark.parametrize("name", alerts())
def test_an_alert_asks_for_series_that_the_guard_exposes(name: str) -> None:
    asked = names(alerts()[name]["expr"])
    assert asked
    assert asked <= known_series()
