"""What policies would say: the answers of IAM's simulator, by the evaluator that decides on calls.

Source: IAM API reference, SimulateCustomPolicy and SimulatePrincipalPolicy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from local_aws.iam.evaluate import Decision, Kind, Named, Policies, Principal, evaluate
from local_aws.iam.policy import Policy

SOURCE_TYPES = {
    Kind.IDENTITY: "IAM Policy",
    Kind.RESOURCE: "Resource Policy",
    Kind.BOUNDARY: "Permissions Boundary Policy",
}


def results(
    params: Mapping[str, Any],
    identity: Sequence[Named],
    boundary: Named | None,
    resource: Named | None,
    principal: Principal,
    known: Mapping[str, tuple[str, ...]],
) -> list[dict[str, Any]]:
    """EvaluationResults: one for each action on each resource.

    Parameters
    ----------
    params
        The request: ActionNames, ResourceArns, ContextEntries, ResourceOwner.
    known
        Condition keys that are the principal's own, in lower case; ContextEntries go before them.
    """
    given = {
        each["ContextKeyName"].lower(): tuple(each.get("ContextKeyValues") or ())
        for each in params.get("ContextEntries") or ()
    }
    context = {**known, **given}
    owner = params.get("ResourceOwner") or ""
    account = owner.split(":")[4] if owner.count(":") >= 5 else owner
    policies = Policies(identity, resource, boundary, resource_account=account or None)
    return [
        _result(action, arn, policies, principal, context)
        for action in params["ActionNames"]
        for arn in params.get("ResourceArns") or ["*"]
    ]


def _result(
    action: str, arn: str, policies: Policies, principal: Principal, context: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    decision = evaluate(action, arn, principal, context, policies)
    answer: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": arn,
        "EvalDecision": decision.verdict.value,
        "MatchedStatements": _matched(decision),
        "MissingContextValues": _missing(action, policies, context),
    }
    if policies.boundary is not None:
        allowed = any(
            each.allows and each.is_on(arn, context) and each.unmet(context) is None
            for each in policies.boundary.policy.about(action)
        )
        answer["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
    return answer


def _matched(decision: Decision) -> list[dict[str, str]]:
    if decision.policy is None or decision.kind is None:
        return []
    return [{"SourcePolicyId": decision.policy, "SourcePolicyType": SOURCE_TYPES.get(decision.kind, "IAM Policy")}]


def _missing(action: str, policies: Policies, context: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The keys that conditions ask about and nobody has given a value."""
    named = [*policies.identity, *(each for each in (policies.boundary, policies.resource) if each is not None)]
    asked = {key: None for each in named for key in keys([each.policy], action)}
    return [key for key in asked if key.lower() not in context]


def keys(policies: Iterable[Policy], action: str | None = None) -> list[str]:
    """The condition keys that policies ask about, of an action or of any."""
    statements = (each for policy in policies for each in (policy.about(action) if action else policy.statements))
    return list(dict.fromkeys(condition.key for each in statements for condition in each.conditions))
