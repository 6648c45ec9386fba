"""What was decided, to be said again while nothing that decided it has changed.

A decision follows from the action, the resource, who asks, the policies, and the condition keys that some statement
has asked for. Policies are read anew for every call, so that a changed one is another question here, and so are the
keys (a tag, the time) that an earlier decision has asked for. Nothing has to be forgotten when something changes.
"""

from __future__ import annotations

from local_aws.iam.asked import Question
from local_aws.iam.context import Keys, Values
from local_aws.iam.evaluate import Decision, Policies, Principal, evaluate

MOST_QUESTIONS, MOST_VALUES = 10_000, 50

Asked = tuple[tuple[str, ...], dict[tuple[Values | None, ...], Decision]]
"""The keys that decisions on one question have asked for, and by the values of these the decisions."""


class Decisions:
    """Remembers `evaluate`'s answers."""

    def __init__(self) -> None:
        self._known: dict[tuple, Asked] = {}

    def decide(self, question: Question, principal: Principal, keys: Keys, policies: Policies) -> Decision:
        """As `evaluate` decides."""
        # Of `named` the same text is the same object.
        key = (question.action, question.resource, tuple(question.keys.items()), principal, policies.identity,
               policies.resource, policies.boundary, policies.session, policies.resource_account,
               policies.resource_must_allow)  # fmt: skip
        entry = self._known.get(key)
        if entry is not None:
            names, known = entry
            values = tuple([keys.get(name) for name in names])
            if (found := known.get(values)) is not None:
                return found
        found = evaluate(question.action, question.resource, principal, keys, policies)
        asked = keys.known
        values = tuple([keys.get(name) for name in asked])
        if entry is not None and asked == entry[0] and len(entry[1]) < MOST_VALUES:
            entry[1][values] = found
            return found
        if len(self._known) >= MOST_QUESTIONS:
            self._known.clear()
        self._known[key] = asked, {values: found}
        return found
