"""Answers while replicas may have different policies: kubelets bring a changed policy to pods up to minutes apart.

A replica that still warns leaves an entry as it is, and another one that enforces already would reject the result.
So for some time after a change, an entry that an earlier policy let in unchanged, and that this one would repair, is
let in. What all of them would reject is rejected. A new installation changes from no policy: an API server may call
its validating webhook when it does not reach the mutating one yet.
"""

from app.core.rules.kept_resolutions import Standing
from app.policyfile import PolicyFile
from app.webhook.admission import NO_SIBLINGS, Answer, Stage, answer


def answer_in_transition(
    stage: Stage, body: bytes | bytearray, policy: PolicyFile, siblings: Standing = NO_SIBLINGS
) -> Answer:
    """Answer as the policy in force says, with regard to earlier ones. Raises BadReview."""
    current = answer(stage, body, policy.current, siblings)
    if current.allowed or stage is not Stage.VALIDATE:
        return current
    earlier = (answer(stage, body, before, siblings) for before in policy.earlier)
    allowed = next((before for before in earlier if before.allowed), None)
    if allowed is None:
        return current
    repairable = answer(Stage.MUTATE, body, policy.current, siblings).allowed
    return allowed if repairable else current
