"""What was decided, to be said again while nothing that decided it has changed.

A decision follows from the action, the resource, who asks, the policies, and the condition keys that some statement
has asked for. An identity is another one as soon as its policies are (`Identities` looks at each call), and of the same
text a resource's policy is the same object, so that a changed one is another question here; so are the keys (a tag, the
time) that an earlier decision has asked for. Nothing has to be forgotten when something changes.
"""

from __future__ import annotations

from local_aws.iam.asked import Question
from local_aws.iam.context import Keys, Values
from local_aws.iam.evaluate import Decision, Named, Policies, Principal, evaluate
from local_aws.iam.identities import Identity

MOST_QUESTIONS, MOST_VALUES = 10_000, 50
NOBODY = Principal()

Asked = tuple[tuple[str, ...], dict[tuple[Values | None, ...], Decision]]
"""The keys that decisions on one question have asked for, and by the values of these the decisions."""


class Decisions:
    """Remembers `evaluate`'s answers."""

    def __init__(self) -> None:
        self._known: dict[tuple, Asked] = {}

    def decide(self, question: Question, identity: Identity | None, keys: Keys, policy: Named | None) -> Decision:
        """Whether an identity, or somebody who has not signed, may do one thing; `policy` is the resource's own."""
        action, resource, own = question
        key = (identity, action, resource, policy, tuple(own.items()) if own else ())
        entry = self._known.get(key)
        if entry is not None:
            names, known = entry
            found = known.get(tuple([keys.get(name) for name in names]) if names else ())
            if found is not None:
                return found
        found = _evaluated(question, identity, keys, policy)
        asked = keys.known
        values = tuple([keys.get(name) for name in asked])
        if entry is not None and asked == entry[0] and len(entry[1]) < MOST_VALUES:
            entry[1][values] = found
            return found
        if len(self._known) >= MOST_QUESTIONS:
            self._known.clear()
        self._known[key] = asked, {values: found}
        return found


def _evaluated(question: Question, identity: Identity | None, keys: Keys, policy: Named | None) -> Decision:
    policies = Policies(
        identity=identity.policies if identity else (),
        resource=policy,
        boundary=identity.boundary if identity else None,
        session=identity.session if identity else None,
        resource_account=_account(question.resource),
        resource_must_allow=question.action == "sts:AssumeRole",
    )
    principal = identity.principal if identity else NOBODY
    return evaluate(question.action, question.resource, principal, keys, policies)


def _account(arn: str) -> str | None:
    """Whose a resource is, by its ARN; None where that does not say so."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 and parts[4].isdigit() else None
