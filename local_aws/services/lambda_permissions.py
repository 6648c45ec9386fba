"""Lambda's operations on functions' resource policies and tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local_aws.errors import AwsError
from local_aws.functions.records import Function, conflict, parse_reference
from local_aws.services.base import Call, Service
from local_aws.services.lambda_ import Lambda

if TYPE_CHECKING:
    from local_aws.aws import LocalAws


class LambdaPermissions(Service):
    """Who may invoke a function, and its tags."""

    name = "lambda"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        self._texts: dict[str, tuple[list[dict[str, Any]], str]] = {}
        """ARN -> the statements of its policy, and the text of these."""

    @property
    def functions(self) -> Lambda:
        return self.aws.service(Lambda)

    def add_permission(self, call: Call) -> dict[str, Any]:
        function, qualifier = self.functions.resolve(call)
        function.version(qualifier)
        params = call.params
        statements = function.policies.setdefault(qualifier or "", {})
        if params["StatementId"] in statements:
            raise conflict(
                f"The statement id ({params['StatementId']}) provided already exists. Please provide a new "
                f"statement id."
            )
        statement: dict[str, Any] = {
            "Sid": params["StatementId"],
            "Effect": "Allow",
            "Principal": _written(params["Principal"]),
            "Action": params["Action"],
            "Resource": f"{function.arn}:{qualifier}" if qualifier else function.arn,
        }
        condition = {}
        if params.get("SourceArn"):
            condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
        if params.get("SourceAccount"):
            condition["StringEquals"] = {"AWS:SourceAccount": params["SourceAccount"]}
        if condition:
            statement["Condition"] = condition
        statements[params["StatementId"]] = statement
        return {"Statement": json.dumps(statement)}

    def get_policy(self, call: Call) -> dict[str, Any]:
        function, qualifier = self.functions.resolve(call)
        statements = function.policies.get(qualifier or "")
        if not statements:
            raise AwsError(
                "ResourceNotFoundException", "The resource you requested does not exist.", status=404, Type="User"
            )
        policy = {"Version": "2012-10-17", "Id": "default", "Statement": list(statements.values())}
        return {"Policy": json.dumps(policy), "RevisionId": function.latest.revision}

    def remove_permission(self, call: Call) -> None:
        function, qualifier = self.functions.resolve(call)
        if function.policies.get(qualifier or "", {}).pop(call.params["StatementId"], None) is None:
            message = f"Statement {call.params['StatementId']} is not found in resource policy."
            raise AwsError("ResourceNotFoundException", message, status=404, Type="User")

    def resource_policy(self, arn: str) -> str | None:
        function = self._of(arn)
        if function is None or not function.policies:
            return None
        statements = list(function.policies.get((*arn.split(":")[7:], "")[0], {}).values())
        if not statements:
            return None
        # Statements come and go, and none is changed.
        known = self._texts.get(arn)
        if known is None or known[0] != statements:
            text = json.dumps({"Version": "2012-10-17", "Statement": statements})
            known = self._texts[arn] = statements, text
        return known[1]

    def resource_tags(self, arn: str) -> Mapping[str, str] | None:
        function = self._of(arn)
        return None if function is None else function.tags

    def _of(self, arn: str) -> Function | None:
        return self.functions.functions.get(arn.split(":")[6]) if ":function:" in arn else None

    def tag_resource(self, call: Call) -> None:
        self._tagged(call).tags.update(call.params["Tags"])

    def untag_resource(self, call: Call) -> None:
        for key in call.params["TagKeys"]:
            self._tagged(call).tags.pop(key, None)

    def list_tags(self, call: Call) -> dict[str, Any]:
        return {"Tags": self._tagged(call).tags}

    def _tagged(self, call: Call) -> Function:
        return self.functions.find(parse_reference(unquote(call.params["Resource"]))[0])


def _written(principal: str) -> str | dict[str, str]:
    """A principal as a policy has it: everybody, a service, or an account or somebody in one by the ARN."""
    if principal == "*":
        return principal
    if principal.endswith(".amazonaws.com"):
        return {"Service": principal}
    return {"AWS": f"arn:aws:iam::{principal}:root" if principal.isdigit() else principal}
