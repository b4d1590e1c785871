"""The audit log of the API server: which controller wrote what, and when, as the API server has seen it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ISTIO, LEASES = "networking.istio.io", "leases"


@dataclass(frozen=True, slots=True)
class Write:
    """A write that the API server accepted; `holder` is that of a Lease, None for any other object."""

    user: str
    resource: str
    began: datetime
    ended: datetime
    uid: str
    version: str
    holder: str | None

    @classmethod
    def of(cls, event: dict[str, Any]) -> "Write":
        """Read an event of the audit log."""
        reference, answer = event["objectRef"], event.get("responseObject") or {}
        metadata = answer.get("metadata") or {}
        sent = event.get("requestObject") or {}
        lease = reference["resource"] == LEASES
        holder = str((sent.get("spec") or {}).get("holderIdentity") or "") if lease else None
        return cls(
            event["user"]["username"],
            reference["resource"],
            datetime.fromisoformat(event["requestReceivedTimestamp"]),
            datetime.fromisoformat(event["stageTimestamp"]),
            str(metadata.get("uid", "")),
            str(metadata.get("resourceVersion", "")),
            holder,
        )


def arguments(folder: Path, users: Sequence[str]) -> list[str]:
    """Write an audit policy, and return the arguments of an API server that records the writes of some users."""
    resources = [{"group": ISTIO}, {"group": "coordination.k8s.io", "resources": [LEASES]}]
    verbs = ["create", "update", "patch", "delete"]
    rule = {"level": "RequestResponse", "users": list(users), "verbs": verbs, "resources": resources}
    document = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [rule, {"level": "None"}],
    }
    (folder / "audit-policy.yaml").write_text(yaml.safe_dump(document))
    return [
        f"--audit-policy-file={folder / 'audit-policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--audit-log-mode=blocking",
    ]


class AuditLog:
    """The writes in some files, read on from where the last look ended."""

    def __init__(self, *paths: Path) -> None:
        self.paths = list(paths)
        self._read: dict[Path, int] = {}
        self._versions: dict[str, str] = {}

    def take(self) -> list[Write]:
        """The accepted writes since the last call, in the order in which they ended."""
        found = [Write.of(event) for path in self.paths for event in self._events(path) if _accepted(event)]
        return sorted(found, key=lambda write: write.ended)

    def for_nothing(self, writes: Iterable[Write]) -> int:
        """Count the writes that left an object as it was."""
        number = 0
        for write in _of_objects(writes):
            number += bool(write.version) and self._versions.get(write.uid) == write.version
            self._versions[write.uid] = write.version
        return number

    def _events(self, path: Path) -> Iterator[dict[str, Any]]:
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read[path] = self._read.get(path, 0) + len(line)
                yield json.loads(line)


def count_objects(writes: Iterable[Write]) -> int:
    """Count the writes of objects other than Leases."""
    return sum(1 for _ in _of_objects(writes))


def by_two(writes: Sequence[Write]) -> int:
    """Count the writes that began after another user had acquired the Lease: two wrote in one term."""
    terms = [(write.ended, write.user) for write in writes if write.holder]
    return sum(_holder(terms, write) not in {"", write.user} for write in _of_objects(writes))


def _holder(terms: Sequence[tuple[datetime, str]], write: Write) -> str:
    return next((user for moment, user in reversed(terms) if moment < write.began), "")


def _of_objects(writes: Iterable[Write]) -> Iterator[Write]:
    return (write for write in writes if write.holder is None)


def _accepted(event: dict[str, Any]) -> bool:
    return bool(event["stage"] == "ResponseComplete" and event.get("responseStatus", {}).get("code", 500) < 300)
