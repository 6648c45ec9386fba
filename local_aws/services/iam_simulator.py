"""IAM's policy simulator: SimulateCustomPolicy, SimulatePrincipalPolicy, and the condition keys of policies."""

from __future__ import annotations

from typing import Any

from local_aws.errors import AwsError
from local_aws.iam import simulate
from local_aws.iam.evaluate import Named, Principal
from local_aws.iam.policy import Malformed, Policy, parse
from local_aws.services.base import Call, Service


class IamSimulator(Service):
    """Answers from the evaluator that decides on calls; moto keeps users, roles and policies."""

    name = "iam"

    def simulate_custom_policy(self, call: Call) -> dict[str, Any]:
        params = call.params
        caller = params.get("CallerArn") or ""
        return self._answer(call, _listed(params, "PolicyInputList"), None, Principal(caller, call.account), {})

    def simulate_principal_policy(self, call: Call) -> dict[str, Any]:
        arn = call.params["PolicySourceArn"]
        found = self.aws.iam.identities.policies_of(arn)
        if found is None:
            raise AwsError("NoSuchEntity", f"Policy source {arn} cannot be found.", status=404)
        policies, boundary, asker = found
        known = {
            "aws:principalarn": (arn,),
            "aws:principalaccount": (call.account,),
            "aws:userid": (asker.user_id,),
            **{f"aws:principaltag/{key.lower()}": (value,) for key, value in asker.tags.items()},
            **({"aws:username": (asker.name,)} if asker.name else {}),
        }
        identity = [*policies, *_listed(call.params, "PolicyInputList")]
        role = arn if ":role/" in arn else ""
        principal = Principal(call.params.get("CallerArn") or arn, call.account, role)
        return self._answer(call, identity, boundary, principal, known)

    def get_context_keys_for_custom_policy(self, call: Call) -> dict[str, Any]:
        return {"ContextKeyNames": simulate.keys(each.policy for each in _listed(call.params, "PolicyInputList"))}

    def get_context_keys_for_principal_policy(self, call: Call) -> dict[str, Any]:
        found = self.aws.iam.identities.policies_of(call.params["PolicySourceArn"])
        if found is None:
            message = f"Policy source {call.params['PolicySourceArn']} cannot be found."
            raise AwsError("NoSuchEntity", message, status=404)
        named = [*found[0], *_listed(call.params, "PolicyInputList")]
        return {"ContextKeyNames": simulate.keys(each.policy for each in named)}

    def _answer(
        self, call: Call, identity: list[Named], boundary: Named | None, principal: Principal, known: dict[str, Any]
    ) -> dict[str, Any]:
        params = call.params
        limits = _listed(params, "PermissionsBoundaryPolicyInputList")
        of_resource = (
            Named("ResourcePolicy", _parsed(params["ResourcePolicy"])) if params.get("ResourcePolicy") else None
        )
        found = simulate.results(params, identity, limits[0] if limits else boundary, of_resource, principal, known)
        return {"EvaluationResults": found, "IsTruncated": False}


def _listed(params: dict[str, Any], member: str) -> list[Named]:
    return [Named(f"{member}.{number}", _parsed(text)) for number, text in enumerate(params.get(member) or (), 1)]


def _parsed(text: str) -> Policy:
    try:
        return parse(text)
    except Malformed as error:
        raise AwsError("InvalidInput", str(error)) from None
