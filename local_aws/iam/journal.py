"""What has been asked: the last denials, to be explained, and per role what it called, as a policy."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

from local_aws.iam.evaluate import Decision, Verdict

KEPT = 1000
MOST_ASKED = 50_000
"""Of one role or user: a data set of many pictures is as many resources."""


class Denial(NamedTuple):
    """One call that policies do not allow."""

    who: str
    operation: str
    action: str
    resource: str
    decision: Decision | None
    """None where it did not come to that: nobody is known by the key, or no table maps the operation."""
    sentence: str

    def explained(self) -> str:
        """What decided, and what came closest, as lines for a person."""
        lines = [
            f"{self.who} called {self.operation}, which needs {self.action} on {self.resource}.",
            self.sentence + ".",
        ]
        if self.decision is None:
            return "\n".join(lines)
        if self.decision.verdict is Verdict.DENIED and self.decision.statement is not None:
            lines.append(f"Decided by the statement {self.decision.statement.name} of {self.decision.policy}.")
        for near in self.decision.near[:5]:
            where = f"the statement {near.statement.name} of {near.policy} ({near.kind})"
            if near.unmet is None:
                on = ", ".join(near.statement.resources or ())
                lines.append(f"Close: {where} allows the action on {on}.")
            else:
                lines.append(f"Close: {where} would allow it, but for the condition {near.unmet}.")
        if self.decision.verdict is not Verdict.DENIED and not self.decision.near:
            lines.append(f"No statement of any policy is about {self.action}.")
        return "\n".join(lines)


Values = tuple[tuple[str, tuple[str, ...]], ...]
"""Condition keys with their values, in the order of the keys."""


class Asked(NamedTuple):
    """What somebody called, once for all calls that are alike."""

    action: str
    resource: str
    keys: Values
    """Those that a policy of the caller's asks about for this action, and the request had."""


class Journal:
    """Keeps both, for as long as the daemon runs."""

    def __init__(self) -> None:
        self._denials: OrderedDict[str, Denial] = OrderedDict()
        self._asked: dict[str, dict[Asked, bool]] = defaultdict(dict)
        self._last: dict[str, dict[str, float]] = defaultdict(dict)
        self._lock = threading.Lock()

    def deny(self, request_id: str, denial: Denial) -> None:
        with self._lock:
            self._denials[request_id] = denial
            while len(self._denials) > KEPT:
                self._denials.popitem(last=False)

    def ask(self, who: str, asked: Asked, allowed: bool) -> None:
        self._last[who][asked.action] = time.time()
        known = self._asked[who]
        if known.get(asked) is not allowed and (len(known) < MOST_ASKED or asked in known):
            with self._lock:
                known[asked] = allowed

    def last(self, who: str) -> dict[str, float]:
        """Action -> when somebody last tried it, Unix seconds."""
        return dict(self._last.get(who) or {})

    def explain(self, request_id: str) -> str | None:
        """What is known of a denial; None for another request."""
        found = self._denials.get(request_id)
        return None if found is None else found.explained()

    def denials(self) -> list[dict[str, str]]:
        """Every kept denial once, in the order of their first call."""
        with self._lock:
            kept = list(self._denials.values())
        once = {(each.who, each.operation, each.action, each.resource): each for each in reversed(kept)}
        return [
            {"who": each.who, "operation": each.operation, "action": each.action, "resource": each.resource,
             "sentence": each.sentence}
            for each in reversed(once.values())
        ]  # fmt: skip

    def stream(self) -> dict[str, dict[str, Any]]:
        """Who called -> the smallest policy that allows it: a statement for each service and set of resources."""
        return {
            who: policy({(each.action, each.resource) for each in asked})
            for who, asked in sorted(self._copied().items())
        }

    def calls(self) -> dict[str, list[dict[str, Any]]]:
        """Who called -> every call once, with the condition keys that it was decided by and whether it was allowed."""
        return {
            who: [
                {"action": each.action, "resource": each.resource,
                 "keys": {key: list(values) for key, values in each.keys}, "allowed": allowed}
                for each, allowed in sorted(asked.items())
            ]
            for who, asked in sorted(self._copied().items())
        }  # fmt: skip

    def _copied(self) -> dict[str, dict[Asked, bool]]:
        with self._lock:
            return {who: dict(asked) for who, asked in self._asked.items()}


def policy(pairs: set[tuple[str, str]]) -> dict[str, Any]:
    """The smallest policy that allows actions on resources, and no other action on any of them."""
    on: dict[str, set[str]] = defaultdict(set)
    for action, resource in pairs:
        on[action].add(resource)
    alike: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for action, resources in on.items():
        alike[action.partition(":")[0], frozenset(resources)].append(action)
    statements = [
        {"Effect": "Allow", "Action": sorted(actions), "Resource": sorted(resources)}
        for (_, resources), actions in sorted(alike.items(), key=lambda item: sorted(item[1]))
    ]
    return {"Version": "2012-10-17", "Statement": statements}
