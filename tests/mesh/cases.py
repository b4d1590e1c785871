"""Every case file in the live mesh, so that Istio's analysis sees all that is emitted in any of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.core.policy.model import Settings
from app.core.policy.reader import as_document, parse_policy
from app.core.routes.survey import Reviewed, Sourced, survey
from app.kube.client import Object
from tests.cases import CASES, Case

DOMAINS = ("example.com", "example.org", "example.net")


@dataclass(frozen=True, slots=True)
class CaseInMesh:
    """A case in a namespace of its own, with hosts of its own: one that all claim would be a finding of itself."""

    case: Case

    @property
    def namespace(self) -> str:
        """Where it is stored."""
        return f"case-{self.case.name}"

    @property
    def section(self) -> dict[str, Any]:
        """The policy of the case, as it is laid over the default there."""
        settings = parse_policy(self._moved(self.case.guard_policy())).settings(self.namespace)
        return as_document(settings, Settings)

    @property
    def manifest(self) -> Object:
        """The entry, as its author wrote it."""
        moved: Object = self._moved(self.case.manifest(self.namespace))
        return moved

    def _moved(self, document: Any) -> Any:
        text = json.dumps(document)
        for domain in DOMAINS:
            text = text.replace(domain, f"{self.case.name}.{domain}")
        return json.loads(text)


CASES_IN_MESH = [CaseInMesh(case) for case in CASES if case.storable and case.outcome != "refused"]


def reviewed_cases() -> Iterator[Reviewed]:
    """The verdict on every case by itself."""
    for case in CASES:
        policy = parse_policy(case.guard_policy())
        yield from survey([Sourced(case.name, case.manifest())], policy)
