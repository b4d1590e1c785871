"""The ConfigMap that the leader writes for the webhook's pods: what they cannot know, because they call no API.

It has the entries that keep their resolution, and the policies that replicas may have. The webhook's pods mount it;
`pod_sync` has their kubelets bring it to them at once.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.controller.leadership import Leadership
from app.controller.siblings import Siblings
from app.controller.worker import LeaderTask
from app.core.cel.kept_resolutions import in_turns
from app.core.rules.kept_resolutions import Standing, as_document
from app.kube.client import Client
from app.kube.errors import NotFound
from app.kube.resources import CONFIG_MAPS
from app.policyfile import EARLIER_LIMIT, TRANSITION_SECONDS, PolicyFile

log = logging.getLogger(__name__)

SIBLINGS, POLICIES = "siblings.json", "policies.json"
"""The keys in the ConfigMap, which are the file names in the webhook's pods."""
SIBLINGS_ROOM, POLICIES_ROOM = 800_000, 200_000
"""Maximum sizes of both in bytes; a ConfigMap can have 1 MiB."""
LOOK_SECONDS = 0.25
READ_PASSES = 120
"""After so many passes (30 s) the ConfigMap is read, in case another client changed or deleted it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The text of a policy, and when no replica has it any more (seconds since 1970); None if it is in force."""

    text: str
    until: float | None = None


class PolicyHistory:
    """The policy in force, and those of the last minutes; `clock` is the time of day, as the next leader has it too."""

    def __init__(self, policy: PolicyFile, clock: Callable[[], float] = time.time) -> None:
        self._policy = policy
        self._clock = clock
        self._policies: list[Policy] = []

    def load(self, text: str) -> None:
        """Continue the history of an earlier leader. An invalid text is ignored, with a log line."""
        try:
            self._policies = [
                Policy(str(each["text"]), each["until"] and float(each["until"])) for each in json.loads(text)
            ]
        except (ValueError, TypeError, KeyError):
            log.warning("the history of policies in the ConfigMap is not valid; starting a new one")

    def document(self) -> str:
        """Return the policies as JSON, the current one first. The oldest are left out if there is no room."""
        now = self._clock()
        current = Policy(self._policy.text)
        end = now + TRANSITION_SECONDS
        ended = [(old.text, min(old.until or end, end)) for old in self._policies if old.text != current.text]
        recent = [Policy(text, until) for text, until in ended if now < until]
        self._policies = [current, *recent][: EARLIER_LIMIT + 1]
        while len(text := self._encoded()) > POLICIES_ROOM:
            self._policies.pop()
        return text

    def _encoded(self) -> str:
        return json.dumps([{"text": each.text, "until": each.until} for each in self._policies], separators=(",", ":"))


class PodFiles:
    """Keeps the ConfigMap in step with `siblings` and the policy. `check` is one pass."""

    def __init__(  # noqa: PLR0913 - its dependencies
        self,
        client: Client,
        siblings: Siblings,
        history: PolicyHistory,
        leadership: Leadership,
        *,
        namespace: str,
        name: str,
    ) -> None:
        self._client = client
        self._siblings = siblings
        self._history = history
        self._leadership = leadership
        self._namespace = namespace
        self._name = name
        self._term = self._passes = 0
        self._written: dict[str, str] = {}
        self._version: int | None = None
        self._standing = ""

    def check(self) -> float:
        """Write the ConfigMap if it changed; returns the seconds until the next pass."""
        if not self._siblings.ready:
            return LOOK_SECONDS
        self._read()
        if (version := self._siblings.version) != self._version:
            self._standing, self._version = siblings_document(self._siblings.standing()), version
        data = {SIBLINGS: self._standing, POLICIES: self._history.document()}
        if data != self._written:
            self._client.apply(CONFIG_MAPS, self._manifest(data), force=True)
            self._written = data
        return LOOK_SECONDS

    def _read(self) -> None:
        """Read what is stored, at the beginning of a term and from time to time."""
        term = self._leadership.term
        if term != self._term:
            self._written = self._stored()
            self._history.load(self._written.get(POLICIES, "[]"))
            self._term = term
        elif self._passes % READ_PASSES == 0:
            self._written = self._stored()
        self._passes += 1

    def _stored(self) -> dict[str, str]:
        try:
            return dict(self._client.get(CONFIG_MAPS, self._namespace, self._name).get("data") or {})
        except NotFound:
            return {}

    def _manifest(self, data: dict[str, str]) -> dict[str, Any]:
        metadata = {"namespace": self._namespace, "name": self._name}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def siblings_document(standing: Standing) -> str:
    """Return standing entries as JSON; if there is no room for all, the same number of hosts of each namespace."""
    text = _encoded(standing)
    kept = in_turns(standing)
    while len(text) > SIBLINGS_ROOM:
        kept = kept[: int(len(kept) * SIBLINGS_ROOM / len(text) * 0.95)]
        text = _encoded({place: standing[place] for place in kept})
    if len(kept) < len(standing):
        log.warning(
            "only %d of %d hosts whose entries keep their resolution fit into the ConfigMap", len(kept), len(standing)
        )
    return text


def pod_files_task(
    siblings: Siblings, policy: PolicyFile, namespace: str, name: str
) -> Callable[[Client, Leadership], LeaderTask]:
    """Return a function that creates the leader's task for the ConfigMap."""

    def make(client: Client, leadership: Leadership) -> LeaderTask:
        files = PodFiles(client, siblings, PolicyHistory(policy), leadership, namespace=namespace, name=name)
        return LeaderTask("pod files", files.check, leadership)

    return make


def _encoded(standing: Standing) -> str:
    return json.dumps(as_document(standing), separators=(",", ":"))
