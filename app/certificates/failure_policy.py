"""The fate of a write while the webhook does not answer: refused only once there is a webhook that has answered.

The chart renders failurePolicy Ignore. The leader sets what the chart's values ask for when the policy enforces
somewhere and a fresh connection to the webhook succeeds, and sets Ignore again when the policy enforces nowhere. What
was set stays while the webhook is down: that is what Fail is for.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from app.certificates.probe import Address, ProbeError, probe
from app.certificates.webhookconfig import address, bundle, failing, webhooks
from app.controller.leadership import Leadership
from app.controller.worker import LeaderTask
from app.core.policy.model import GuardPolicy, Mode
from app.kube.apply import locked
from app.kube.client import Client, Object
from app.kube.errors import NotFound
from app.kube.resources import MUTATING, VALIDATING, Resource
from app.policyfile import PolicyFile

log = logging.getLogger(__name__)

IGNORE, FAIL = "Ignore", "Fail"
CHECK_SECONDS = 2.0
"""Time between two passes: for how long an upgrade of the chart leaves Ignore in place."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The name of the webhook configurations, and their failure policies once the webhook has answered."""

    configuration: str
    mutating: str
    validating: str

    def of(self, resource: Resource) -> str:
        """Return the failure policy of one configuration."""
        return self.mutating if resource is MUTATING else self.validating


class FailurePolicy:
    """Keeps the failure policies. One pass is `check`."""

    def __init__(
        self,
        client: Client,
        policy: PolicyFile,
        wanted: Wanted,
        probe: Callable[[Address, bytes], None] = probe,
    ) -> None:
        self._client = client
        self._policy = policy
        self._wanted = wanted
        self._probe = probe

    def check(self) -> float:
        """Set the failure policy of both configurations; returns seconds until the next pass."""
        enforcing = enforces(self._policy.current)
        for resource, configuration in self._configurations():
            wanted = {
                webhook["name"]: self._policy_of(webhook, self._wanted.of(resource)) if enforcing else IGNORE
                for webhook in webhooks(configuration)
            }
            self._set(resource, configuration, wanted)
        return CHECK_SECONDS

    def _policy_of(self, webhook: Object, wanted: str) -> str:
        """Return the failure policy of a webhook under a policy that enforces."""
        if wanted == IGNORE or webhook.get("failurePolicy") == FAIL:
            return wanted
        try:
            self._probe(address(webhook), bundle(webhook))
        except ProbeError as error:
            log.debug("%s does not answer at %s yet: %s", webhook["name"], address(webhook), error)
            return IGNORE
        return wanted

    def _set(self, resource: Resource, configuration: Object, wanted: Mapping[str, str]) -> None:
        if patch := failing(configuration, wanted):
            name = configuration["metadata"]["name"]
            self._client.json_patch(resource, None, name, locked(configuration, patch))
            log.info(
                "set failurePolicy of %s %s to %s", resource.kind, name, " and ".join(sorted(set(wanted.values())))
            )

    def _configurations(self) -> Iterator[tuple[Resource, Object]]:
        for resource in (MUTATING, VALIDATING):
            try:
                yield resource, self._client.get(resource, None, self._wanted.configuration)
            except NotFound:
                continue


def enforces(policy: GuardPolicy) -> bool:
    """Say whether a policy changes or refuses anything anywhere."""
    return any(settings.mode is Mode.ENFORCE for _, _, settings in policy.layers())


def failure_policy_task(policy: PolicyFile, wanted: Wanted) -> Callable[[Client, Leadership], LeaderTask]:
    """Return a function that creates the leader's task from a fenced client and the leadership."""

    def make(client: Client, leadership: Leadership) -> LeaderTask:
        return LeaderTask("failure policy", FailurePolicy(client, policy, wanted).check, leadership)

    return make
