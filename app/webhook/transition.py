"""Answers while replicas may have different policies: kubelets bring a changed policy to pods up to minutes apart.

A replica that still warns leaves an entry as it is, and another one that enforces already would reject the result.
So for some time after a change, an entry that the policy before let in unchanged, and that this one would repair, is
let in. What both would reject is rejected.
"""

from app.core.standing import Standing
from app.policyfile import PolicyFile
from app.webhook.admission import NO_SIBLINGS, Answer, Stage, answer


def answer_in_transition(stage: Stage, body: bytes, policy: PolicyFile, siblings: Standing = NO_SIBLINGS) -> Answer:
    """Answer as the policy in force says, with regard to the one before. Raises BadReview."""
    given = answer(stage, body, policy.current, siblings)
    before = policy.previous
    if given.allowed or before is None or stage is not Stage.VALIDATE:
        return given
    earlier = answer(stage, body, before, siblings)
    repairable = answer(Stage.MUTATE, body, policy.current, siblings).allowed
    return earlier if earlier.allowed and repairable else given
