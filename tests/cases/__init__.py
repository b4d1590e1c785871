"""The case files: a manifest in, findings and objects out. Each is run by the webhook, the controller and `review`."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core.policy.model import GuardPolicy
from app.core.policy.reader import parse_policy
from tests.documents import parsed

FOLDER = Path(__file__).parent
TODAY = "2026-06-30"
"""The day of the cases. Days in them are so far from it that they come out alike on any day of these years."""


@dataclass(frozen=True)
class Case:
    """One entry under one policy, and what is expected of it."""

    name: str
    rule: str
    created: str
    annotations: dict[str, str]
    labels: dict[str, str]
    status: dict[str, Any]
    """What istiod wrote into the entry."""
    spec: dict[str, Any]
    policy: dict[str, Any]
    outcome: str
    resolution: str | None
    findings: list[str]
    """Severity, code and path, separated by spaces, in any order."""
    emits: list[str]
    """Objects as kind/name; a name alone is a VirtualService."""
    http: Any
    """Routes of the one VirtualService that is emitted."""
    destination: Any
    """Spec of the one DestinationRule that is emitted."""
    export_to: list[str] | None
    """`exportTo` of what is emitted; None where the case does not say."""
    beside: list[dict[str, Any]]
    """Objects that stand beside the entry."""
    storable: bool
    """Whether Istio's schema lets the API server store the manifest as it is written."""

    def manifest(self, namespace: str = "team") -> dict[str, Any]:
        """The ServiceEntry."""
        created = {"creationTimestamp": self.created} if self.created else {}
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {
                "name": "case",
                "namespace": namespace,
                "annotations": self.annotations,
                **({"labels": self.labels} if self.labels else {}),
                **created,
            },
            "spec": self.spec,
            **({"status": self.status} if self.status else {}),
        }

    def guard_policy(self) -> dict[str, Any]:
        """The whole policy document."""
        return {"apiVersion": "serviceentry-guard.io/v1alpha1", "kind": "GuardPolicy", **self.policy}

    def in_force(self) -> GuardPolicy:
        """The policy as it applies."""
        return parse_policy(self.guard_policy()).on(TODAY)

    def apart(self) -> "Case":
        """The case with hosts that no other case names, as far as its policy does not name them."""
        names = self.policy.get("exemptions", {}).keys() & {"hosts", "temporary"}
        if names or self.policy.keys() & {"scope", "hosts"}:
            return self

        def moved(value: Any) -> Any:
            return json.loads(re.sub("(?i)example\\.com", rf"{self.name}.\g<0>", json.dumps(value)))

        return replace(
            self,
            spec=moved(self.spec),
            emits=moved(self.emits),
            http=moved(self.http),
            destination=moved(self.destination),
        )

    @property
    def remediated(self) -> bool:
        """Whether the controller changes the entry where admission missed it."""
        return bool(self.policy.get("existing") == "Remediate")

    @property
    def codes(self) -> set[str]:
        """The codes of the findings."""
        return {finding.split()[1] for finding in self.findings}


def load() -> Iterator[Case]:
    """Yield every case of every file."""
    for path in sorted(FOLDER.glob("*.yaml")):
        document = parsed(path.read_text())
        for number, run in enumerate(document["runs"], 1):
            yield Case(
                name=f"{path.stem}-{number}",
                rule=document["rule"],
                created=document.get("created", ""),
                annotations=document.get("annotations", {}),
                labels=document.get("labels", {}),
                status=document.get("status", {}),
                spec=document["entry"],
                policy=run["policy"],
                outcome=run["outcome"],
                resolution=run.get("resolution"),
                findings=run["findings"],
                emits=[name if "/" in name else f"VirtualService/{name}" for name in run.get("emits", [])],
                http=run.get("http"),
                destination=run.get("destination"),
                export_to=run.get("exportTo"),
                beside=document.get("beside", []),
                storable=document.get("stored", True),
            )


CASES = list(load())
